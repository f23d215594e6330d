"""Fine-tuning that stays close to where it began: the rival of freezing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seglab.regularizers.base import Applied, Regularizer, Route, Weight, Wrapper
from seglab.regularizers.sum import Together


@dataclass(frozen=True)
class Anchored(Wrapper):
    """R(w − w⁰) on pretrained weights, which pulls them to their start w⁰; plain R on new ones (Li et al. 2018: L2-SP, L1-SP, group lasso-SP).

    `Anchored(L2(1e-4), new=L2(1e-3))` is L2-SP with the strengths of its authors on Cityscapes. Which weights are pretrained is what
    the weight loader reports, never guessed. prox: w⁰ + prox_R(v − w⁰), so that with `Proximal(L1)` weights stay exactly at w⁰.

    The start is kept in a checkpoint, which grows by the size of the pretrained weights.
    """

    inner: Regularizer
    new: Regularizer | None = None
    """For weights that are not pretrained; None gives them `inner` too."""

    def parts(self) -> Sequence[Regularizer]:
        return (self.inner,) if self.new is None else (self.inner, self.new)

    @property
    def has_prox(self) -> bool:
        return all(part.has_prox for part in self.parts())

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if not any(weight.pretrained and weight.penalized for weight in weights.values()):
            raise ValueError(
                f"{self!r} pulls pretrained weights to their start, and none of these is pretrained: load some (`weights` of "
                "`seglab.network`), or leave Anchored out"
            )
        old = {name: weight._replace(anchor=weight.tensor.detach().clone()) for name, weight in weights.items() if weight.pretrained}
        new = {name: weight for name, weight in weights.items() if not weight.pretrained}
        if self.new is None:
            return self.inner.bind({**old, **new}, route)
        applied = [self.inner.bind(old, route)]
        if any(weight.penalized for weight in new.values()):
            applied.append(self.new.bind(new, route))
        return Together(applied)
