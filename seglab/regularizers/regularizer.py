"""`Regularizer`: a penalty that can be bound to the weights of a network.

`Wrapper`: the base of classes that change how a penalty acts.
"""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor
from torch.optim import Optimizer

from seglab.given import check_kind
from seglab.regularizers.applied import Applied, ByGradient, Route
from seglab.regularizers.penalty import Penalty
from seglab.regularizers.weight import Weight


class Regularizer(Penalty):
    """A penalty that can be bound to the weights of a network: the class to extend.

    A new penalty writes `penalty` alone, see `Penalty`. A wrapper, which changes how, where or when a penalty acts,
    extends `Wrapper` and overrides `bind`.
    """

    @property
    def has_prox(self) -> bool:
        """Return whether this regularizer can be wrapped in `Proximal`."""
        return type(self).prox is not Penalty.prox

    @property
    def acts_last(self) -> bool:
        """Return whether the regularizer must act on the weights after all others.

        Otherwise the others would change the property that this regularizer sets.
        """
        return any(part.acts_last for part in self.parts())

    @property
    def decays_weights(self) -> bool:
        """Return whether the regularizer penalizes weights.

        If it does, an optimizer's `weight_decay` would penalize the weights a second time.
        """
        parts = self.parts()
        return any(part.decays_weights for part in parts) if parts else True

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """Check that the regularizer can act beside `optimizer`.

        Raises:
            ValueError: the regularizer cannot, for example because it does not know the step size of this kind of
                optimizer.
        """
        for part in self.parts():
            part.check_optimizer(optimizer)

    def parts(self) -> "Sequence[Regularizer]":
        """Return the regularizers that this one wraps; none for a penalty."""
        return ()

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        """Return the object that applies this regularizer to a network's weights.

        Call it once, after the weights are loaded.

        Args:
            weights: all parameters of the network, by name.
            route: makes the object that applies a penalty; None adds the penalty's gradient. Wrappers without their own
                route pass it on.

        Raises:
            ValueError: the regularizer cannot act on these weights.
        """
        return (ByGradient if route is None else route)(self, weights)


class Wrapper(Regularizer):
    """A regularizer that changes how, where or when `inner` acts, by overriding `bind`."""

    inner: Regularizer

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return self.inner.penalty(weights)

    @property
    def has_prox(self) -> bool:
        return self.inner.has_prox

    def parts(self) -> Sequence[Regularizer]:
        return (self.inner,)


def check_regularizer(given: object) -> None:
    """Check that a regularizer, and each regularizer that it wraps, is an object of a subclass of `Regularizer`.

    Raises:
        ValueError: one is a class, a function or something else.
    """
    check_kind("a regularizer", given, Regularizer)
    assert isinstance(given, Regularizer)
    for part in given.parts():
        check_regularizer(part)


def nested(regularizer: Regularizer) -> Iterator[Regularizer]:
    """Yield a regularizer and all regularizers that it wraps, directly or indirectly."""
    yield regularizer
    for part in regularizer.parts():
        yield from nested(part)
