"""The focal loss for all γ: values and gradients against a closed form in float64, to the limits of float32."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from seglab.losses import CrossEntropy, Focal
from seglab.sample import IGNORE
from tests.losses.catalogue import drawn

Floats = npt.NDArray[np.float64]

GAMMAS = [0.0, 0.01, 0.1, 0.2, 0.5, 0.9, 1.0, 1.5, 2.0, 5.0]
"""Lin et al. also sweep 0.1, 0.2 and 0.5. Between 0 and 1, a power with a naive gradient gives NaN where p_y rounds to
1.
"""


def closed_form(x: Floats, gamma: float) -> tuple[Floats, Floats]:
    """(1−p)^γ log 1/p and its derivative with respect to x = log (1−p)/p, in float64."""
    missed, cost = 1 / (1 + np.exp(-x)), np.logaddexp(0, x)
    return missed**gamma * cost, missed**gamma * (gamma * (1 - missed) * cost + missed)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(("dtype", "units"), [(torch.float32, 4), (torch.float64, 200)], ids=str)
def test_value_and_gradient_are_those_of_the_closed_form(gamma: float, classes: int, label: int, dtype: torch.dtype, units: int) -> None:
    """A pixel for each logit from −100 to 100, the other logits being 0 and −1; every seventh pixel is ignored.

    The error is counted in units in the last place of 1, the largest gradient of a pixel; the closed form has some of
    float64's itself.
    """
    ladder = torch.linspace(-100, 100, 2001, dtype=torch.float64)
    others = [torch.zeros_like(ladder), torch.full_like(ladder, -1.0)][: classes - 1]
    logits = torch.stack([ladder, *others]).view(1, classes, 1, -1).to(dtype).requires_grad_()
    mask = torch.full((1, 1, 2001), label)
    mask[..., ::7] = IGNORE
    value = Focal(gamma)(logits, mask)
    (gradient,) = torch.autograd.grad(value, logits)

    z = logits.detach().double()[0, :, 0].numpy() if classes > 1 else np.stack([np.zeros(2001), logits.detach().double()[0, 0, 0].numpy()])
    valid = (mask != IGNORE)[0, 0].numpy()
    x = np.logaddexp.reduce(np.delete(z, label, 0), 0) - z[label]
    costs, slopes = closed_form(x, gamma)
    rest = np.exp(z - np.logaddexp.reduce(np.delete(z, label, 0), 0))  # ∂x/∂z of the other classes
    rest[label] = -1.0
    expected = (slopes * rest * valid / valid.sum())[-classes:]
    scale = torch.finfo(dtype).eps / valid.sum()
    assert value.item() == pytest.approx(costs[valid].mean(), rel=(16 + units) * torch.finfo(dtype).eps)
    error = np.abs(gradient[0, :, 0].double().numpy() - expected)
    assert error.max() <= (units + 10 * gamma) * scale
    assert not gradient[0, :, 0, ~torch.from_numpy(valid)].any()


@pytest.mark.parametrize("gamma", [gamma for gamma in GAMMAS if gamma > 0])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        (torch.float16, 20.0),
        (torch.float16, 3e4),
        (torch.bfloat16, 20.0),
        (torch.float32, 20.0),
        (torch.float32, 1e30),
        (torch.float64, 1e3),
    ],
    ids=str,
)
def test_where_a_pixel_is_surely_right_value_and_gradient_are_zero(gamma: float, classes: int, dtype: torch.dtype, size: float) -> None:
    logits = torch.full((1, classes, 2, 2), -size, dtype=dtype)
    logits[:, -1] = size
    logits.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = Focal(gamma)(logits, torch.full((1, 2, 2), max(classes - 1, 1)))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == 0
    assert gradient.isfinite().all()
    assert gradient.abs().max() <= 1e-8  # at 20, the gradient of cross-entropy is 2·10⁻⁹


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_are_float32(gamma: float, classes: int, dtype: torch.dtype) -> None:
    def of(logits: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits.detach().requires_grad_()
        value = Focal(gamma)(logits, mask)
        return value.detach(), torch.autograd.grad(value, logits)[0]

    logits, mask = drawn(0, classes=classes, present=2)
    narrow = (20 * logits).to(dtype)
    value, gradient = of(narrow.float())
    for found in (of(narrow), _autocast(of, narrow)):
        assert torch.equal(found[0], value)
        assert torch.equal(found[1], gradient.to(dtype))


def _autocast(of: object, logits: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found: tuple[Tensor, Tensor] = of(logits)  # type: ignore[operator]
    return found


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("weight", [None, [1.0, 0.5, 3.0]])
def test_gradient_matches_finite_differences(gamma: float, classes: int, weight: list[float] | None) -> None:
    logits, mask = drawn(1, classes=classes, present=2)
    loss = Focal(gamma, weight=weight if weight is None or classes == 3 else weight[:2])
    assert torch.autograd.gradcheck(lambda z: loss(z, mask), (3 * logits).double().requires_grad_())


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize("weight", [None, [1.0, 0.0, 3.0]])
def test_gamma_0_is_cross_entropy(classes: int, size: float, weight: list[float] | None) -> None:
    """Bit for bit without weights; with them, the product of weight and cost is rounded elsewhere."""
    weight = weight if weight is None or classes == 3 else weight[:2]
    logits, mask = drawn(2, classes=classes, present=2)
    logits = (size * logits).requires_grad_()
    values = [loss(logits, mask) for loss in (Focal(0.0, weight), CrossEntropy(weight=weight))]
    gradients = [torch.autograd.grad(value, logits)[0] for value in values]
    for ours, theirs in (values, gradients):
        if weight is None:
            assert torch.equal(ours, theirs)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_it_lies_between_cross_entropy_and_gamma_1() -> None:
    logits, mask = drawn(3)
    values = [Focal(gamma)(logits, mask).item() for gamma in GAMMAS]
    assert values == sorted(values, reverse=True)
    assert values[0] == CrossEntropy()(logits, mask).item()
