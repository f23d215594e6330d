"""Apply a different regularizer to each stage of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from seglab.regularizers.applied import Applied, Route
from seglab.regularizers.regularizer import Regularizer
from seglab.regularizers.sum import AppliedSum
from seglab.regularizers.weight import Weight
from seglab.suggestions import did_you_mean


@dataclass(frozen=True)
class PerStage(Regularizer):
    """Applies a regularizer to each named stage, and none to the others.

    `PerStage({"encoder": L2(1e-4), "encoder.0": L2(0), "decoder": L1(1e-6)})`: a key is the name of a stage
    (`encoder.0`, …, `decoder`, `head`), or `encoder` for all stages of the encoder. If two keys cover a stage, the
    longer one counts.

    Raises:
        ValueError: no stage is named or, on `bind`, the network has no stage of a name.
    """

    stages: Mapping[str, Regularizer]

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("PerStage: the mapping is empty; name one stage or more")

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        raise ValueError("PerStage cannot penalize tensors without names, whose stages are unknown: bind it to a network's weights")

    def parts(self) -> Sequence[Regularizer]:
        return tuple(self.stages.values())

    @property
    def has_prox(self) -> bool:
        return all(part.has_prox for part in self.parts())

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        there = list(dict.fromkeys(weight.stage for weight in weights.values()))
        for name in self.stages:
            if not any(_covers(name, stage) for stage in there):
                hint = did_you_mean(name, dict.fromkeys([*there, *(stage.partition(".")[0] for stage in there)]))
                raise ValueError(f"PerStage: there is no stage {name!r}{hint}; the stages are {', '.join(there)}")
        chosen = {stage: max((name for name in self.stages if _covers(name, stage)), key=len, default=None) for stage in there}
        return AppliedSum(
            [
                regularizer.bind({key: weight for key, weight in weights.items() if chosen[weight.stage] == name}, route)
                for name, regularizer in self.stages.items()
                if name in chosen.values()
            ]
        )


def _covers(name: str, stage: str) -> bool:
    return stage == name or stage.startswith(f"{name}.")
