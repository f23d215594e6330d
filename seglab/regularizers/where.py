"""Choose the parameters that a penalty acts on."""

from collections.abc import Mapping
from dataclasses import dataclass

from seglab.regularizers.applied import Applied, Route
from seglab.regularizers.regularizer import Regularizer, Wrapper
from seglab.regularizers.weight import Weight


@dataclass(frozen=True)
class Where(Wrapper):
    """Applies `inner` to a chosen set of parameters.

    Without `Where`, a penalty acts on all weights and on nothing else.

    Batch norm cancels the scale of the weights before it. An L2 penalty on them does not make the function simpler, but
    sets the effective learning rate (van Laarhoven 2017). `Where(L2(λ), before_norm=False)` is the control: L2 only on
    weights that no norm layer follows. If one `Where` is inside another, the inner one counts.

    Raises:
        ValueError: on `bind`, if `before_norm` is False and it is unknown which weights a norm layer follows.
    """

    inner: Regularizer
    biases: bool = False
    """True if biases are penalized."""
    norms: bool = False
    """True if scales and shifts of norm layers are penalized."""
    before_norm: bool = True
    """True if weights are penalized whose scale a norm layer cancels."""

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if not self.before_norm and any(weight.scale_free == "unknown" for weight in weights.values() if weight.kind == "weight"):
            raise ValueError(
                f"{self!r} needs to know which weights a norm layer follows, and this network cannot tell, because it does not run on the meta device. "
                "Leave before_norm=False out, or make the network run on the meta device"
            )
        return self.inner.bind({name: weight._replace(penalized=self._covers(weight)) for name, weight in weights.items()}, route)

    def _covers(self, weight: Weight) -> bool:
        if weight.kind == "bias":
            return self.biases
        if weight.kind == "norm":
            return self.norms
        return self.before_norm or weight.scale_free == "no"
