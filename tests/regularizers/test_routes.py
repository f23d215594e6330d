"""∇λR beside the loss is λR in the loss, over twenty steps: for every penalty, however the network is run."""

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from seglab.module import SegmentationModule
from seglab.regularizers import (
    L1,
    L2,
    Anchored,
    ElasticNet,
    GroupLasso,
    HoyerSquare,
    Orthogonality,
    PerStage,
    Proximal,
    Regularizer,
    SmoothL1,
    Spectral,
    Sum,
    Where,
)
from seglab.sample import Batch
from tests.nets import Small, Staged, adamw, batches, fixed_module, momentum, trained

PENALTIES = [
    L1(1e-2),
    L2(1e-1),
    ElasticNet(1e-2, 1e-1),
    SmoothL1(1e-2, kappa=0.5),
    GroupLasso(1e-2),
    HoyerSquare(1e-3),
    Orthogonality(1e-2),
]


class PenaltyInTheLoss(SegmentationModule):
    """The independent route: λR added to the loss, differentiated with it."""

    penalty: Regularizer

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if not hasattr(self, "chosen"):
            self.chosen = [weight.tensor for weight in self.weights().values() if weight.kind == "weight"]
            self.fixed = self.penalty if isinstance(self.penalty, Spectral) else self.penalty.fixed(self.chosen)  # Spectral itself is exact
        loss = super().training_step(batch, batch_idx)
        with torch.autocast("cpu", enabled=False):
            return loss + self.fixed.penalty(self.chosen)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"max_epochs": 5},
    "clipped and accumulated": {"max_epochs": 10, "gradient_clip_val": 0.3, "accumulate_grad_batches": 2},
}


def stand_out(module: Any) -> None:
    """Give each weight a leading singular value well above the others, so that its direction is known to all digits."""
    with torch.no_grad():
        for weight in (module.network.first.weight, module.network.last.weight):
            u, sigma, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
            weight.add_((2 * sigma[0] * torch.outer(u[:, 0], v[0])).view_as(weight))


def routes(regularizer: Regularizer, optimizer: Any, given: Any = None, **settings: Any) -> list[dict[str, Tensor]]:
    """Return the results of a training with the penalty beside the loss, in the loss, and without it."""
    beside, inside, none = (
        fixed_module(own, optimizer, kind=kind)
        for own, kind in ((regularizer, SegmentationModule), (None, PenaltyInTheLoss), (None, SegmentationModule))
    )
    inside.penalty = regularizer
    for module in (beside, inside, none):
        stand_out(module)
        if given is not None:
            module.network = given(module.network)
    return [trained(module, batches(4), **settings) for module in (beside, inside, none)]


def assert_routes_agree(regularizer: Regularizer, optimizer: Any, given: Any = None, **settings: Any) -> None:
    ours, theirs, without = routes(regularizer, optimizer, given, **settings)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=2e-4, atol=1e-5)
    assert max(float((ours[name] - without[name]).abs().max()) for name in ours) > 1e-3, "the penalty had no effect to compare"


@pytest.mark.parametrize("optimizer", [sgd, momentum, adamw])
def test_the_estimate_of_the_spectral_norm_trains_as_the_norm_itself(optimizer: Any) -> None:
    """Train with the estimate, which lags a power iteration behind moving weights.

    Its effect is that of the exact norm up to a few percent.
    """
    ours, theirs, without = routes(Spectral(1e-1), optimizer, max_epochs=5)
    for name in ("first.weight", "last.weight"):
        assert float((ours[name] - theirs[name]).norm()) < 0.1 * float((theirs[name] - without[name]).norm())


@pytest.mark.parametrize("optimizer", [sgd, momentum, adamw])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("regularizer", PENALTIES, ids=repr)
def test_beside_the_loss_is_in_the_loss(regularizer: Regularizer, settings: dict[str, Any], optimizer: Any) -> None:
    assert_routes_agree(regularizer, optimizer, **settings)


@pytest.mark.parametrize("regularizer", PENALTIES, ids=repr)
def test_under_autocast_the_penalty_is_computed_in_float32(regularizer: Regularizer) -> None:
    """Data in bfloat16, alike on both routes for one step; later a weight's last bit may decide how it is rounded.

    A penalty in bfloat16 would differ in the third digit.
    """
    ours, theirs, without = routes(regularizer, sgd, max_epochs=1, limit_train_batches=1, precision="bf16-mixed")
    for name in ours:
        torch.testing.assert_close(ours[name] - without[name], theirs[name] - without[name], rtol=1e-3, atol=1e-6)
    assert max(float((ours[name] - without[name]).abs().max()) for name in ours) > 1e-4, "the penalty had no effect to compare"


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile's default backend needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("regularizer", [L1(1e-2), SmoothL1(1e-2, kappa=0.5), GroupLasso(1e-2)], ids=repr)
def test_a_compiled_network_is_penalized_as_it_is(regularizer: Regularizer, backend: str) -> None:
    torch.compiler.reset()
    assert_routes_agree(regularizer, momentum, lambda network: network.compile(backend=backend) or network, max_epochs=5)


@pytest.mark.parametrize("route", [Proximal, Anchored, lambda r: Where(r, biases=True), lambda r: PerStage({"encoder": r})])
def test_compiling_changes_no_route(route: Any) -> None:
    """Names, stages and what is pretrained are those of the network."""
    torch.compiler.reset()
    found = []
    for compiled in (False, True):
        module = fixed_module(route(L1(0.02)), adamw, net=Staged)
        module.network.pretrained = frozenset(name for name, _ in module.network.named_parameters() if name.startswith("encoder."))
        if compiled:
            module.network.compile(backend="aot_eager")
        found.append(trained(module))
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-5, atol=1e-6)


def test_the_network_of_these_tests_has_what_penalties_tell_apart() -> None:
    weights = fixed_module(None, net=Small).weights()
    assert {weight.kind for weight in weights.values()} == {"weight", "bias", "norm"}
    assert {weight.scale_free for weight in weights.values()} == {"filter", "no"}


def test_the_sum_of_two_is_the_loss_with_both() -> None:
    assert_routes_agree(Sum([L2(0.1), L1(0.01)]), momentum, max_epochs=5)
