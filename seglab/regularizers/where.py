"""On which parameters a penalty acts."""

from collections.abc import Mapping
from dataclasses import dataclass

from seglab.regularizers.base import Applied, Regularizer, Route, Weight, Wrapper


@dataclass(frozen=True)
class Where(Wrapper):
    """`inner` on other parameters than all weights.

    Batch norm undoes the scale of the weights before it: an L2 penalty there does not make the function simpler, it sets the
    effective learning rate (van Laarhoven 2017). `Where(L2(λ), before_norm=False)` is the control: L2 only on weights that no norm layer follows. Of one `Where` in another the inner one counts.
    """

    inner: Regularizer
    biases: bool = False
    """Biases too."""
    norms: bool = False
    """Scales and shifts of norm layers too."""
    before_norm: bool = True
    """Also weights whose scale a norm layer takes out again."""

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if not self.before_norm and any(weight.scale_free == "unknown" for weight in weights.values() if weight.kind == "weight"):
            raise ValueError(
                f"{self!r}: which weights a norm layer follows is not known for this network, as it does not run on the meta device"
            )
        return self.inner.bind({name: weight._replace(penalized=self._covers(weight)) for name, weight in weights.items()}, route)

    def _covers(self, weight: Weight) -> bool:
        if weight.kind == "bias":
            return self.biases
        if weight.kind == "norm":
            return self.norms
        return self.before_norm or weight.scale_free == "no"
