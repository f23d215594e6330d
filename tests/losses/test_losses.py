"""Properties of every loss; cross-entropy, Dice and sums against hand-computed cases and torch."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from seglab.losses import OHEM, CrossEntropy, Dice, Focal, FocalTversky, HausdorffDT, SmoothL1Loss, Tversky, WeightedSum
from seglab.losses.region import Absent, Reduction
from seglab.sample import IGNORE
from seglab.stage import Progress
from tests.losses.catalogue import LOSSES, OF_SHAPES, TWO_CLASSES, drawn, logits_of


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), weighted=st.booleans(), smoothing=st.sampled_from([0.0, 0.1, 0.5]), ignored=st.sampled_from([0.0, 0.5]))
def test_cross_entropy_is_torchs(seed: int, weighted: bool, smoothing: float, ignored: float) -> None:
    logits, mask = drawn(seed, ignored)
    weight = [1.0, 0.0, 3.0] if weighted else None
    loss = CrossEntropy(weight=weight, label_smoothing=smoothing)(logits, mask)
    torch_weight = None if weight is None else torch.tensor(weight)
    expected = F.cross_entropy(logits, mask, torch_weight, ignore_index=IGNORE, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected.nan_to_num(0.0))


def test_dice_by_hand() -> None:
    logits = logits_of([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])
    mask = torch.tensor([[[0, 0, 1, IGNORE]]])
    zero, one = 2 * 1.4 / (1.7 + 2), 2 * 0.7 / (1.3 + 1)
    assert Dice()(logits, mask).item() == pytest.approx(1 - (zero + one) / 2, abs=1e-6)
    zero, one = (2 * 1.4 + 1) / (1.7 + 2 + 1), (2 * 0.7 + 1) / (1.3 + 1 + 1)
    assert Dice(smooth=1.0)(logits, mask).item() == pytest.approx(1 - (zero + one) / 2, abs=1e-6)


def test_absent_class_is_skipped_or_costs_its_mean_probability() -> None:
    logits, mask = logits_of([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3]]), torch.tensor([[[0, 0]]])
    present = 1 - 2 * 1.2 / (1.2 + 2)
    assert Dice()(logits, mask).item() == pytest.approx(present, abs=1e-6)
    assert Dice(absent="penalize")(logits, mask).item() == pytest.approx((present + 0.2 + 0.2) / 3, abs=1e-6)


def test_totally_wrong_with_one_class_present_costs_one() -> None:
    logits = torch.tensor([-50.0, 50.0, -50.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert Dice()(logits, torch.zeros(1, 4, 4, dtype=torch.int64)).item() == pytest.approx(1)


def test_image_reduction_is_the_mean_of_each_image_alone() -> None:
    logits, mask = drawn(3)
    alone = [Dice()(logits[i : i + 1], mask[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(Dice(reduction="image")(logits, mask), torch.stack(alone).mean())
    mask[1] = IGNORE
    torch.testing.assert_close(Dice(reduction="image")(logits, mask), alone[0])
    assert not torch.equal(Dice()(*drawn(3)), Dice(reduction="image")(*drawn(3)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("present", [3, 2, 1])
def test_gradient_matches_finite_differences(name: str, present: int) -> None:
    logits, mask = drawn(5, present=present)
    logits = logits.double().requires_grad_()
    value = LOSSES[name](logits, mask)
    assert value.dtype == torch.float64
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, mask), logits)
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient.abs().max() > 1e-4 or (name == "boundary" and present == 1)  # one class has no boundary
    assert gradient.movedim(1, -1)[mask == IGNORE].abs().max() == 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_all_ignored_is_zero_with_zero_gradient(loss: nn.Module) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), IGNORE))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("loss", [CrossEntropy(weight=[0.0, 1.0], label_smoothing=0.1), Focal(weight=[0.0, 1.0])])
def test_a_batch_of_classes_of_weight_0_is_zero_with_zero_gradient(loss: nn.Module) -> None:
    """Under label smoothing, each pixel has a cost for the other classes, and no weight to divide it by."""
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    value = loss(logits, torch.zeros(2, 4, 4, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss: nn.Module, dtype: torch.dtype) -> None:
    logits = torch.randn(1, 3, 400, 400, generator=torch.Generator().manual_seed(0)).to(dtype)  # 160,000 pixels overflow float16
    mask = torch.zeros(1, 400, 400, dtype=torch.int64)
    value = loss(logits, mask)
    assert value.dtype == torch.float32
    assert value.shape == ()
    assert torch.equal(value, loss(logits.float(), mask))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(value, loss(logits, mask))


@pytest.mark.parametrize("name", [name for name in LOSSES if "weighted" not in name])
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), present=st.integers(1, 3))
def test_order_does_not_matter(name: str, seed: int, present: int) -> None:
    """Change the order of classes, images and pixels, and add pixels that are ignored."""
    logits, mask = drawn(seed, present=present)
    value = LOSSES[name](logits, mask)
    order = torch.tensor([2, 0, 1])
    renamed = torch.where(mask == IGNORE, IGNORE, order.argsort()[mask.where(mask != IGNORE, 0)])
    torch.testing.assert_close(LOSSES[name](logits[:, order], renamed), value)
    torch.testing.assert_close(LOSSES[name](logits.flip(0), mask.flip(0)), value)
    if name != "gradient":  # whose differences are taken to the right and below
        torch.testing.assert_close(LOSSES[name](logits.flip(2, 3), mask.flip(1, 2)), value)
    torch.testing.assert_close(LOSSES[name](logits.contiguous(memory_format=torch.channels_last), mask), value)
    padding = (0, 3, 0, 2)
    torch.testing.assert_close(LOSSES[name](F.pad(logits, padding, value=7.0), F.pad(mask, padding, value=IGNORE)), value)


@pytest.mark.parametrize("name", LOSSES)
def test_a_single_pixel(name: str) -> None:
    logits = torch.randn(1, 3, 1, 1, generator=torch.Generator().manual_seed(2), requires_grad=True)
    value = LOSSES[name](logits, torch.tensor([[[1]]]))
    value.backward()
    assert logits.grad is not None
    if name in OF_SHAPES:
        assert value.item() == logits.grad.abs().max() == 0
    else:
        assert value.item() > 0
        assert logits.grad[0, 1] < 0 < logits.grad[0, 0]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [30.0, 1e4])
def test_extreme_logits_have_finite_gradients(name: str, size: float) -> None:
    sign, mask = drawn(1)
    logits = (size * sign.sign()).requires_grad_()
    value = LOSSES[name](logits, mask)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


ABSENT: tuple[Absent, ...] = ("skip", "penalize")
REDUCTION: tuple[Reduction, ...] = ("batch", "image")
ENDS: list[nn.Module] = [
    CrossEntropy(label_smoothing=0.999),
    CrossEntropy(weight=[0.0, 1.0]),
    CrossEntropy(weight=[1e-6, 1e6]),
    *[Focal(gamma) for gamma in (1e-6, 0.1, 0.5, 0.999, 1.0, 1.001, 50.0)],
    *[OHEM(threshold, at_least) for threshold in (0.0, 1e-30, 1.0) for at_least in (1e-9, 1.0)],
    *[SmoothL1Loss(beta) for beta in (1e-30, 1.0, 1e30)],
    *[Dice(smooth, absent, reduction) for smooth in (0.0, 1e-30, 1e30) for absent in ABSENT for reduction in REDUCTION],
    *[Tversky(alpha, beta) for alpha, beta in ((0.0, 1.0), (1.0, 0.0), (1e-30, 0.0), (1e15, 1.0))],
    *[FocalTversky(gamma=gamma) for gamma in (1e-6, 0.1, 1.0, 50.0)],
    *[HausdorffDT(alpha) for alpha in (1e-6, 0.5, 20.0)],
]
"""Losses whose arguments are at or near the ends of the ranges that they accept."""


@pytest.mark.parametrize("loss", ENDS, ids=str)
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("present", [2, 1])
@pytest.mark.parametrize("size", [1.0, 17.0, 100.0, 1e30])
def test_every_accepted_argument_gives_finite_gradients(loss: nn.Module, classes: int, present: int, size: float) -> None:
    """At logits that a network has, at those where a probability rounds to 1, and beyond; right ones and wrong ones."""
    drawn_logits, mask = drawn(3, classes=classes, present=present)
    foreground = (mask == 1).float()
    right = torch.stack([1 - 2 * foreground, 2 * foreground - 1], 1)[:, -classes:]
    for logits in (drawn_logits, right, -right, torch.zeros_like(right)):
        leaf = (size * logits).requires_grad_()
        value = loss(leaf, mask)
        (gradient,) = torch.autograd.grad(value, leaf)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", TWO_CLASSES)
@pytest.mark.parametrize("present", [2, 1])
def test_one_logit_is_two_classes(name: str, present: int) -> None:
    logits, mask = drawn(4, classes=1, present=present)
    logits.requires_grad_()
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    one_value, two_value = TWO_CLASSES[name](logits, mask), TWO_CLASSES[name](two, mask)
    assert torch.equal(one_value, two_value)
    assert torch.equal(*(torch.autograd.grad(value, logits)[0] for value in (one_value, two_value)))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_one_logit_is_binary_cross_entropy(seed: int) -> None:
    logits, mask = drawn(seed, ignored=0, classes=1, present=2)
    torch.testing.assert_close(CrossEntropy()(logits, mask), F.binary_cross_entropy_with_logits(logits[:, 0], mask.float()))


def test_weighted_sum_and_its_terms() -> None:
    logits, mask = drawn(0)
    ce, dice = CrossEntropy(), Dice()
    loss = WeightedSum({"ce": ce, "dice": dice}, {"dice": 0.5, "ce": 2.0})
    torch.testing.assert_close(loss(logits.requires_grad_(), mask), 2 * ce(logits, mask) + 0.5 * dice(logits, mask))
    torch.testing.assert_close(loss.terms, {"ce": ce(logits, mask).detach(), "dice": dice(logits, mask).detach()})
    assert list(loss.state_dict()) == []


def test_weighted_sum_from_flags() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loss", type=nn.Module)
    built = parser.instantiate(
        parser.parse_args(
            [
                "--loss=seglab.losses.WeightedSum",
                '--loss.losses={"ce": {"class_path": "seglab.losses.CrossEntropy", "init_args": {"weight": [1, 2, 3]}},'
                ' "dice": {"class_path": "seglab.losses.Dice"}}',
                '--loss.weights={"ce": 1, "dice": 0.5}',
            ]
        )
    ).loss
    same = WeightedSum({"ce": CrossEntropy(weight=[1, 2, 3]), "dice": Dice()}, {"ce": 1, "dice": 0.5})
    assert repr(built) == repr(same)
    assert "weights={'ce': 1.0, 'dice': 0.5}" in repr(built)
    assert "smooth=0.0, absent='skip', reduction='batch', ignore_index=255, foreground_only=False" in repr(built)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CrossEntropy(weight=[1.0, -1.0]), "weight must be"),
        (lambda: CrossEntropy(weight=[0.0, 0.0]), "one of them positive"),
        (lambda: CrossEntropy(weight=[1.0, math.nan]), "weight must be"),
        (lambda: CrossEntropy(label_smoothing=1.0), r"label_smoothing must be in \[0, 1\)"),
        (lambda: CrossEntropy(label_smoothing=-0.1), "label_smoothing"),
        (lambda: Dice(smooth=-1.0), "smooth must be"),
        (
            lambda: Dice(absent="ignore"),  # type: ignore[arg-type]
            "absent must be 'skip' or 'penalize'",
        ),
        (
            lambda: Dice(reduction="mean"),  # type: ignore[arg-type]
            "reduction must be 'batch' or 'image'",
        ),
        (lambda: WeightedSum({}, {}), "losses is empty"),
        (lambda: WeightedSum({"ce": CrossEntropy()}, {"dice": 1.0}), "the same names"),
        (lambda: WeightedSum({"ce": CrossEntropy()}, {"ce": -1.0}), "weights must be finite"),
        (lambda: WeightedSum({"c.e": CrossEntropy()}, {"c.e": 1.0}), "another name"),
    ],
)
def test_constructor_errors(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_weights_follow_the_progress() -> None:
    logits, mask = drawn(0)
    loss = WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": lambda progress: 1 - progress.fraction, "dice": 0.5})
    both = [CrossEntropy()(logits, mask), Dice()(logits, mask)]
    for step, weight in ((0, 1.0), (3, 0.7), (10, 0.0)):
        loss.follow(Progress(step, 10, 5))
        torch.testing.assert_close(loss(logits, mask), weight * both[0] + 0.5 * both[1])
    with pytest.raises(ValueError, match=r"weights must be finite numbers ≥ 0, got \{'ce': -1.0\} at step 20"):
        loss.follow(Progress(20, 10, 5))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize(
    ("logits", "mask", "message"),
    [
        (torch.zeros(2, 3, 4), torch.zeros(2, 4, 4).long(), r"logits must be \(N,C,H,W\)"),
        (torch.zeros(2, 3, 4, 4).long(), torch.zeros(2, 4, 4).long(), "floating"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4).byte(), r"int64, got torch.uint8: call mask.long\(\)"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 5).long(), r"\(2, 4, 4\) to match"),
    ],
)
def test_input_errors(loss: nn.Module, logits: Tensor, mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(logits, mask)


def test_number_of_weights_is_checked() -> None:
    with pytest.raises(ValueError, match="2 numbers, but the logits have 3 classes"):
        CrossEntropy(weight=[1.0, 2.0])(*drawn(0))
