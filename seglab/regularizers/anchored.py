"""Penalize the distance of pretrained weights from their start: an alternative to freezing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seglab.regularizers.applied import Applied, Route
from seglab.regularizers.regularizer import Regularizer, Wrapper
from seglab.regularizers.sum import AppliedSum
from seglab.regularizers.weight import Weight


@dataclass(frozen=True)
class Anchored(Wrapper):
    """R(w − w⁰) on pretrained weights, w⁰ being their start, and R(w) on new weights (Li et al. 2018: L2-SP, L1-SP,
    group lasso-SP).

    `Anchored(L2(1e-4), new=L2(1e-3))` is L2-SP with its authors' strengths for Cityscapes. The weight loader reports
    which weights are pretrained. The prox is w⁰ + prox_R(v − w⁰), so that under `Proximal(L1)` weights stay exactly at
    w⁰.

    A checkpoint holds w⁰, and so grows by the size of the pretrained weights.

    Raises:
        ValueError: on `bind`, if no penalized weight is pretrained.
    """

    inner: Regularizer
    new: Regularizer | None = None
    """Penalty of the weights that are not pretrained; None is `inner`."""

    def parts(self) -> Sequence[Regularizer]:
        return (self.inner,) if self.new is None else (self.inner, self.new)

    @property
    def has_prox(self) -> bool:
        return all(part.has_prox for part in self.parts())

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if not any(weight.pretrained and weight.penalized for weight in weights.values()):
            raise ValueError(
                f"{self!r} pulls pretrained weights to their start, and none of these is pretrained. Load pretrained weights (`weights` of "
                "`seglab.network`), or leave Anchored out"
            )
        old = {name: weight._replace(anchor=weight.tensor.detach().clone()) for name, weight in weights.items() if weight.pretrained}
        new = {name: weight for name, weight in weights.items() if not weight.pretrained}
        if self.new is None:
            return self.inner.bind({**old, **new}, route)
        applied = [self.inner.bind(old, route)]
        if any(weight.penalized for weight in new.values()):
            applied.append(self.new.bind(new, route))
        return AppliedSum(applied)
