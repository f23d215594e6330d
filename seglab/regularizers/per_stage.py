"""Another regularizer for each stage of a network."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from seglab.regularizers.base import Applied, Regularizer, Route, Weight
from seglab.regularizers.sum import Together


@dataclass(frozen=True)
class PerStage(Regularizer):
    """`PerStage({"encoder": L2(1e-4), "encoder.0": L2(0), "decoder": L1(1e-6)})`; stages that are not named are not penalized.

    A name is that of a stage (`encoder.0`, …, `decoder`, `head`), or `encoder` for all of its stages; the longer name counts.
    """

    stages: Mapping[str, Regularizer]

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("PerStage: name one stage or more")

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        raise ValueError("PerStage needs to know the stage of each weight: bind it to named weights")

    def parts(self) -> Sequence[Regularizer]:
        return tuple(self.stages.values())

    @property
    def has_prox(self) -> bool:
        return all(part.has_prox for part in self.parts())

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        there = list(dict.fromkeys(weight.stage for weight in weights.values()))
        for name in self.stages:
            if not any(_covers(name, stage) for stage in there):
                close = difflib.get_close_matches(name, [*there, *(stage.partition(".")[0] for stage in there)], n=1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                raise ValueError(f"PerStage: there is no stage {name!r}{hint}; the stages are {', '.join(there)}")
        chosen = {stage: max((name for name in self.stages if _covers(name, stage)), key=len, default=None) for stage in there}
        return Together(
            [
                regularizer.bind({key: weight for key, weight in weights.items() if chosen[weight.stage] == name}, route)
                for name, regularizer in self.stages.items()
                if name in chosen.values()
            ]
        )


def _covers(name: str, stage: str) -> bool:
    return stage == name or stage.startswith(f"{name}.")
