"""The penalties that the experiments compare, by name."""

from seglab.regularizers.anchored import Anchored
from seglab.regularizers.decoupled import Decoupled
from seglab.regularizers.group_lasso import GroupLasso
from seglab.regularizers.hoyer import HoyerSquare
from seglab.regularizers.penalties import L1, L2, ElasticNet, SmoothL1
from seglab.regularizers.proximal import Proximal
from seglab.regularizers.regularizer import Regularizer
from seglab.regularizers.relative import Relative


def penalties_at(ratio: float) -> dict[str, Regularizer]:
    """Return penalties of equal strength, by name.

    Each has the ratio ‖∇λR‖/‖∇L‖ = `ratio` when its warm-up ends (see `Relative`).

    Two penalties have no such ratio. "decoupled-l2" does not act on the gradients, and acts from the first step on:
    `ratio` is its λ. "l2-sp" is 0 at the pretrained weights, where the ratio would be measured: it has the strengths of
    X. Li et al. (arXiv:1802.01483) for segmentation.

    >>> penalties_at(0.03)["l1"]
    Relative(inner=Proximal(inner=L1(strength=1.0), preconditioned=True), ratio=0.03, after=0.05, steps=10)
    """
    named = penalties_of(1.0)
    relative = {name: Relative(penalty, ratio) for name, penalty in named.items()}
    return {**relative, "decoupled-l2": Decoupled(L2(ratio)), "l2-sp": named["l2-sp"]}


def penalties_of(strength: float) -> dict[str, Regularizer]:
    """Return penalties by name, each with λ = `strength`.

    Equal λ are not equal strengths: each penalty has a scale of its own.

    The exception is "l2-sp", which has the strengths of X. Li et al. (arXiv:1802.01483) for segmentation.

    >>> penalties_of(1e-4)["l1"]
    Proximal(inner=L1(strength=0.0001), preconditioned=True)
    """
    return {
        "l2": L2(strength),
        "decoupled-l2": Decoupled(L2(strength)),
        "l1": Proximal(L1(strength)),
        "elastic-net": Proximal(ElasticNet(strength, 30.0 * strength)),  # at |w| of about 0.03 both halves pull alike
        "smooth-l1": SmoothL1(strength, kappa=0.5),
        "group-lasso": Proximal(GroupLasso(strength)),
        "hoyer-square": HoyerSquare(strength),
        "l2-sp": Anchored(L2(1e-4), new=L2(1e-3)),
    }
