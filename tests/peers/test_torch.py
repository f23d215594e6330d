"""Losses and penalties against torch and torchvision."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torchvision.ops import sigmoid_focal_loss

from seglab.losses import OHEM, Brier, CrossEntropy, Focal, SmoothL1Loss
from seglab.regularizers import L1, L2, ElasticNet, GroupLasso, HoyerSquare, Orthogonality, Regularizer, SmoothL1, Spectral
from seglab.sample import IGNORE
from tests.peers.comparison import Comparison, Loss, check_definition, check_different, check_equal, probabilities

W = [1.0, 2.0, 0.5]


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    return lambda logits, mask: F.cross_entropy(logits, mask, torch.tensor(W), ignore_index=IGNORE, label_smoothing=label_smoothing)


def binary(logits: Tensor, mask: Tensor) -> Tensor:
    valid = mask != IGNORE
    return F.binary_cross_entropy_with_logits(logits[:, 0][valid], mask[valid].float())


def pos_weight(logits: Tensor, mask: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits[:, 0], mask.float(), pos_weight=torch.tensor(3.0))


def sigmoid_focal(gamma: float, alpha: float = -1) -> Loss:
    def loss(logits: Tensor, mask: Tensor) -> Tensor:
        valid = mask != IGNORE
        value: Tensor = sigmoid_focal_loss(logits[:, 0][valid], mask[valid].float(), alpha, gamma, "mean")
        return value

    return loss


def of_foreground(loss: Loss) -> Loss:
    """A loss of σ(z) and y of the valid pixels of one logit."""

    def of(logits: Tensor, mask: Tensor) -> Tensor:
        valid = mask != IGNORE
        return loss(logits[:, 0][valid].sigmoid(), mask[valid].float())

    return of


def of_all(loss: Loss, factor: float = 1.0) -> Loss:
    return lambda logits, mask: factor * loss(*probabilities(logits, mask))


def huber(p: Tensor, y: Tensor) -> Tensor:
    return F.smooth_l1_loss(p, y, beta=0.2)


def hardest(part: float) -> Loss:
    """Mean cross-entropy of the hardest pixels, by torch's top-k of the valid ones."""

    def loss(logits: Tensor, mask: Tensor) -> Tensor:
        costs = F.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none")[mask != IGNORE]
        return costs.topk(-int(-part * len(costs) // 1)).values.mean()

    return loss


EQUAL: dict[str, Comparison] = {
    "cross-entropy": Comparison(CrossEntropy(), lambda z, y: F.cross_entropy(z, y)),
    "cross-entropy, void": Comparison(CrossEntropy(), lambda z, y: F.cross_entropy(z, y, ignore_index=IGNORE), ignored=0.3),
    "cross-entropy, void and weights": Comparison(CrossEntropy(weight=W), cross_entropy(), ignored=0.3),
    "cross-entropy, void, weights and smoothing": Comparison(
        CrossEntropy(weight=W, label_smoothing=0.2), cross_entropy(label_smoothing=0.2), ignored=0.3
    ),
    "cross-entropy of one logit": Comparison(CrossEntropy(), binary, classes=1),
    "cross-entropy of one logit, void": Comparison(CrossEntropy(), binary, classes=1, ignored=0.3),
    "focal, γ = 0": Comparison(Focal(0.0, weight=W), cross_entropy(), ignored=0.3),
    "focal of one logit": Comparison(Focal(2.0), sigmoid_focal(2.0), classes=1),
    "focal of one logit, γ = 0.2, void": Comparison(Focal(0.2), sigmoid_focal(0.2), classes=1, ignored=0.3),
    "hardest pixels": Comparison(OHEM(0.0, 0.25), hardest(0.25)),
    "hardest pixels, void": Comparison(OHEM(0.0, 0.25), hardest(0.25), ignored=0.3),
    "Brier": Comparison(Brier(), of_all(F.mse_loss, 3), ignored=0.3),
    "Brier of one logit, both classes": Comparison(Brier(), of_all(F.mse_loss, 2), classes=1, ignored=0.3),
    "smooth L1": Comparison(SmoothL1Loss(0.2), of_all(huber, 3), ignored=0.3),
    "smooth L1 of one logit, both classes": Comparison(SmoothL1Loss(0.2), of_all(huber, 2), classes=1, ignored=0.3),
}

DIFFERENT: dict[str, Comparison] = {
    "weights of one logit": Comparison(
        CrossEntropy(weight=[1.0, 3.0]),
        pos_weight,
        1,
        because="pos_weight divides by the number of pixels, not by the sum of the weights",
        definition=lambda z, y: CrossEntropy(weight=[1.0, 3.0])(z, y) * (1 + 2 * y).float().mean(),
    ),
    "focal by default": Comparison(
        Focal(2.0),
        sigmoid_focal(2.0, 0.25),
        1,
        because="α = ¼ for the foreground and ¾ for the background, over the number of pixels",
        definition=lambda z, y: Focal(2.0, weight=[0.75, 0.25])(z, y) * (0.75 - 0.5 * y).mean(),
    ),
    "Brier of one logit": Comparison(
        Brier(), of_foreground(F.mse_loss), 1, because="the foreground alone, half of both", definition=lambda z, y: Brier()(z, y) / 2
    ),
    "smooth L1 of one logit": Comparison(
        SmoothL1Loss(0.2),
        of_foreground(huber),
        1,
        because="the foreground alone, half of both",
        definition=lambda z, y: SmoothL1Loss(0.2)(z, y) / 2,
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_loss_and_gradient_are_torchs(name: str) -> None:
    check_equal(EQUAL[name])


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_loss_that_differs_by_definition(name: str) -> None:
    check_different(DIFFERENT[name])
    check_definition(DIFFERENT[name])


def weights(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((4, 3, 3, 3), (5, 8), (6,))]


def over_filters(weight: Tensor, order: float) -> Tensor:
    norms: Tensor = weight.flatten(1).norm(order, 1) if weight.ndim > 1 else weight.abs()
    return norms


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("penalty", "theirs"),
    [
        (L1(0.3), lambda w: 0.3 * F.l1_loss(w, torch.zeros_like(w), reduction="sum")),
        (L2(0.3), lambda w: 0.15 * F.mse_loss(w, torch.zeros_like(w), reduction="sum")),
        (ElasticNet(0.3, 0.2), lambda w: 0.3 * w.norm(1) + 0.1 * w.norm(2) ** 2),
        (SmoothL1(0.3, beta=0.4), lambda w: 0.3 * F.smooth_l1_loss(w, torch.zeros_like(w), reduction="sum", beta=0.4)),
        (SmoothL1(0.3, beta=0.4), lambda w: 0.3 / 0.4 * F.huber_loss(w, torch.zeros_like(w), reduction="sum", delta=0.4)),
        (GroupLasso(0.3), lambda w: 0.3 * (w.numel() / len(w)) ** 0.5 * over_filters(w, 2).sum()),
        (HoyerSquare(0.3), lambda w: 0.3 * w.norm(1) ** 2 / w.norm(2) ** 2),
        (Spectral(0.3), lambda w: 0.15 * torch.linalg.svdvals(w.flatten(1) if w.ndim > 1 else w[:, None])[0] ** 2),
    ],
    ids=["L1", "L2", "elastic net", "smooth L1", "Huber", "group lasso", "Hoyer-square", "spectral"],
)
def test_penalty_and_gradient_are_torchs(seed: int, penalty: Regularizer, theirs: Callable[[Tensor], Tensor]) -> None:
    for weight in weights(seed):
        leaf = weight.clone().requires_grad_()
        value = theirs(leaf)
        torch.testing.assert_close(penalty.penalty([weight]), value.detach())
        (gradient,) = torch.autograd.grad(value, leaf)
        fixed = penalty.fixed([weight])
        for _ in range(2000 if isinstance(penalty, Spectral) else 0):  # steps of a training, each with a power iteration
            fixed.gradient([weight])
        torch.testing.assert_close(fixed.gradient([weight])[0], gradient)


def weight_of(layer: nn.Module) -> Tensor:
    """The weight (out, …) of a parametrized layer, as it is computed."""
    (weight,) = (value for value in [layer.weight] if isinstance(value, Tensor))
    return weight.detach()


def test_orthogonality_is_zero_at_torchs_orthogonal_weights_and_nowhere_near() -> None:
    torch.manual_seed(0)
    weight = weight_of(parametrizations.orthogonal(nn.Linear(7, 4)))
    assert Orthogonality(1.0).penalty([weight]).item() == pytest.approx(0, abs=1e-9)
    assert Orthogonality(1.0).penalty([1.1 * weight]).item() == pytest.approx(4 * (1.1**2 - 1) ** 2, rel=1e-4)


def test_a_weight_of_torchs_spectral_norm_costs_half_of_the_strength() -> None:
    torch.manual_seed(0)
    weight = weight_of(parametrizations.spectral_norm(nn.Conv2d(3, 4, 3), n_power_iterations=50))
    assert Spectral(0.3).penalty([weight]).item() == pytest.approx(0.15, rel=1e-4)
