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
    """Return penalties of equal strength by name: each has the ratio ‖∇λR‖/‖∇L‖ = `ratio` when its warm-up ends (see `Relative`).

    Two penalties have no such ratio. "decoupled-l2" does not act on the gradients, and acts from the first step on: `ratio` is its λ.
    "l2-sp" is 0 at the pretrained weights, where the ratio would be measured: it has the strengths of X. Li et al. (arXiv:1802.01483) for
    segmentation.

    >>> penalties_at(0.03)["l1"]
    Relative(inner=Proximal(inner=L1(strength=1.0), preconditioned=True), ratio=0.03, after=0.05, steps=10)
    """
    return {
        "l2": Relative(L2(1.0), ratio),
        "decoupled-l2": Decoupled(L2(ratio)),
        "l1": Relative(Proximal(L1(1.0)), ratio),
        "elastic-net": Relative(Proximal(ElasticNet(1.0, 30.0)), ratio),  # at |w| of about 0.03 both halves pull alike
        "smooth-l1": Relative(SmoothL1(1.0, kappa=0.5), ratio),
        "group-lasso": Relative(Proximal(GroupLasso(1.0)), ratio),
        "hoyer-square": Relative(HoyerSquare(1.0), ratio),
        "l2-sp": Anchored(L2(1e-4), new=L2(1e-3)),
    }
