"""Region losses against hand-computed cases, loops, each other, and segmentation-models-pytorch where it is right."""

import math
from collections.abc import Callable

import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seglab.losses import BoundaryLoss, Dice, FocalTversky, GeneralizedDice, Jaccard, LogCoshDice, Lovasz, Tversky
from seglab.sample import IGNORE
from tests.losses.catalogue import FOREGROUND, drawn, logits_of

LOGITS = logits_of([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])
MASK = torch.tensor([[[0, 0, 1, IGNORE]]])
TP, P, Y = (1.4, 0.7), (1.7, 1.3), (2, 1)


def mean(cost: Callable[[float, float, float], float]) -> float:
    """Return the mean of both classes' costs, computed from their TP, Σp and Σy."""
    return sum(map(cost, TP, P, Y)) / 2


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Dice(), mean(lambda tp, p, y: 1 - 2 * tp / (p + y))),
        (Dice(smooth=1.0), mean(lambda tp, p, y: 1 - (2 * tp + 1) / (p + y + 1))),
        (LogCoshDice(), math.log(math.cosh(mean(lambda tp, p, y: 1 - 2 * tp / (p + y))))),
        (Jaccard(), mean(lambda tp, p, y: 1 - tp / (p + y - tp))),
        (Jaccard(smooth=2.0), mean(lambda tp, p, y: 1 - (tp + 2) / (p + y - tp + 2))),
        (Tversky(0.3, 0.7), mean(lambda tp, p, y: 1 - tp / (tp + 0.3 * (p - tp) + 0.7 * (y - tp)))),
        (FocalTversky(0.3, 0.7), mean(lambda tp, p, y: (1 - tp / (tp + 0.3 * (p - tp) + 0.7 * (y - tp))) ** 0.75)),
        (GeneralizedDice(), 1 - 2 * (1.4 / 4 + 0.7 / 1) / (3.7 / 4 + 2.3 / 1)),
    ],
    ids=str,
)
def test_by_hand(loss: torch.nn.Module, expected: float) -> None:
    assert loss(LOGITS, MASK).item() == pytest.approx(expected, abs=1e-6)


def test_absent_class_is_skipped_or_costs_its_mean_probability() -> None:
    logits, mask = logits_of([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3]]), torch.tensor([[[0, 0]]])
    present = {
        Dice: 1 - 2 * 1.2 / 3.2,
        Jaccard: 1 - 1.2 / 2,
        Tversky: 1 - 1.2 / (1.2 + 0.7 * 0.8),
        FocalTversky: (0.7 * 0.8 / 1.76) ** 0.75,
    }
    for kind, cost in present.items():
        assert kind()(logits, mask).item() == pytest.approx(cost, abs=1e-6)
        assert kind(absent="penalize")(logits, mask).item() == pytest.approx((cost + 0.2 + 0.2) / 3, abs=1e-6)
    assert GeneralizedDice()(logits, mask).item() == pytest.approx(present[Dice], abs=1e-6)


@pytest.mark.parametrize("kind", [Dice, Jaccard, Tversky, FocalTversky, GeneralizedDice])
def test_wrong_everywhere_with_one_class_present_costs_one(kind: Callable[[], torch.nn.Module]) -> None:
    logits = torch.tensor([-50.0, 50.0, -50.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert kind()(logits, torch.zeros(1, 4, 4, dtype=torch.int64)).item() == pytest.approx(1)
    assert kind()(logits, torch.ones(1, 4, 4, dtype=torch.int64)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", [Dice, LogCoshDice, Jaccard, Tversky, FocalTversky, GeneralizedDice])
def test_image_reduction_is_the_mean_of_each_image_alone(kind: Callable[..., torch.nn.Module]) -> None:
    logits, mask = drawn(3)
    alone = [kind()(logits[i : i + 1], mask[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(kind(reduction="image")(logits, mask), torch.stack(alone).mean())
    assert not torch.equal(kind()(logits, mask), kind(reduction="image")(logits, mask))
    mask[1] = IGNORE
    torch.testing.assert_close(kind(reduction="image")(logits, mask), alone[0])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([0.0, 0.3, 1.0, 2.0]), beta=st.sampled_from([0.5, 1.0]))
def test_is_smps_where_every_class_is_present(seed: int, alpha: float, beta: float) -> None:
    """SMP counts an absent class as 0 in the mean, so every class is made to occur.

    SMP's Dice is its Tversky, so its smoothing s is half of ours.
    """
    logits, mask = drawn(seed, ignored=0.3)
    mask[:, 0, :3] = torch.arange(3)
    arguments = {"mode": "multiclass", "ignore_index": IGNORE}
    torch.testing.assert_close(Dice()(logits, mask), smp.losses.DiceLoss(**arguments, eps=1e-12)(logits, mask))
    torch.testing.assert_close(Dice(smooth=2.0)(logits, mask), smp.losses.DiceLoss(**arguments, smooth=1.0)(logits, mask))
    torch.testing.assert_close(
        Tversky(alpha, beta)(logits, mask), smp.losses.TverskyLoss(**arguments, alpha=alpha, beta=beta, eps=1e-12)(logits, mask)
    )
    whole = mask.where(mask != IGNORE, 0)  # its Jaccard knows no ignored pixels
    torch.testing.assert_close(Jaccard()(logits, whole), smp.losses.JaccardLoss("multiclass", eps=1e-12)(logits, whole))


def loops(logits: Tensor, mask: Tensor) -> list[tuple[float, float, float]]:
    """TP, Σp and Σy of each class, pixel by pixel in Python's own numbers."""
    counts = [[0.0, 0.0, 0.0] for _ in range(logits.shape[1])]
    for image, truth in zip(logits.tolist(), mask.tolist(), strict=True):
        for row, line in enumerate(truth):
            for column, label in enumerate(line):
                powers = [math.exp(channel[row][column]) for channel in image]
                for c, power in enumerate(powers):
                    if label != IGNORE:
                        p = power / sum(powers)
                        counts[c] = [counts[c][0] + p * (label == c), counts[c][1] + p, counts[c][2] + (label == c)]
    return [(tp, p, y) for tp, p, y in counts]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4), present=st.integers(1, 2), ignored=st.sampled_from([0.0, 0.5, 0.9]))
def test_is_that_of_plain_loops(seed: int, classes: int, present: int, ignored: float) -> None:
    logits, mask = drawn(seed, ignored, classes, present)
    mask[0, 0, 0] = 0
    counts = loops(logits, mask)
    there = [(tp, p, y) for tp, p, y in counts if y > 0]
    pixels = sum(y for _, _, y in counts)

    def over(cost: Callable[[float, float, float], float], absent: str) -> float:
        costs = [cost(*own) for own in there]
        return sum(costs) / len(there) if absent == "skip" else (sum(costs) + sum(p / pixels for _, p, y in counts if y == 0)) / classes

    for absent in ("skip", "penalize"):
        expected = {
            Dice: over(lambda tp, p, y: 1 - 2 * tp / (p + y), absent),
            Jaccard: over(lambda tp, p, y: 1 - tp / (p + y - tp), absent),
            Tversky: over(lambda tp, p, y: 1 - tp / (tp + 0.3 * (p - tp) + 0.7 * (y - tp)), absent),
            FocalTversky: over(lambda tp, p, y: (1 - tp / (tp + 0.3 * (p - tp) + 0.7 * (y - tp))) ** 0.75, absent),
        }
        for kind, value in expected.items():
            assert kind(absent=absent)(logits, mask).item() == pytest.approx(value, abs=2e-6)
    overlap, sizes = sum(tp / y**2 for tp, _, y in there), sum((p + y) / y**2 for _, p, y in there)
    assert GeneralizedDice()(logits, mask).item() == pytest.approx(1 - 2 * overlap / sizes, abs=2e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_one_is_a_case_of_another(seed: int) -> None:
    logits, mask = drawn(seed)
    torch.testing.assert_close(Tversky(0.5, 0.5, smooth=0.5)(logits, mask), Dice(smooth=1.0)(logits, mask))
    torch.testing.assert_close(Tversky(1.0, 1.0, smooth=0.5)(logits, mask), Jaccard(smooth=0.5)(logits, mask))
    torch.testing.assert_close(FocalTversky(gamma=1.0)(logits, mask), Tversky()(logits, mask))


def test_generalized_dice_counts_classes_alike_however_many_pixels_there_are() -> None:
    """A class of one pixel beside one of 4 million, whose weight 1/(Σy)² float32 can barely tell from 0."""
    logits = torch.zeros(1, 2, 2048, 2048)
    mask = torch.zeros(1, 2048, 2048, dtype=torch.int64)
    mask[0, 0, 0] = 1
    y, p = (2048.0**2 - 1, 1.0), 2048.0**2 / 2
    expected = 1 - 2 * sum(0.5 * n / n**2 for n in y) / sum((p + n) / n**2 for n in y)
    assert GeneralizedDice()(logits, mask).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Tversky(0.0, 0.0), r"alpha \+ beta is 0: no mistake would cost anything"),
        (lambda: Tversky(-1.0, 2.0), "alpha and beta must be"),
        (lambda: FocalTversky(math.nan, 1.0), "alpha and beta must be"),
        (lambda: FocalTversky(gamma=0.0), "gamma must be"),
        (lambda: Jaccard(smooth=-1.0), "smooth must be"),
        (lambda: Tversky(smooth=math.inf), "smooth must be"),
        (
            lambda: Tversky(absent="ignore"),  # type: ignore[arg-type]
            "absent must be 'skip' or 'penalize'",
        ),
        (
            lambda: GeneralizedDice(reduction="mean"),  # type: ignore[arg-type]
            "reduction must be 'batch' or 'image'",
        ),
    ],
)
def test_region_errors(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


LOGIT = torch.tensor([0.3, 0.6, 0.7, 0.5]).logit().view(1, 1, 1, 4)  # σ(z) of the pixels of `MASK`


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Dice(foreground_only=True), 1 - 2 * 0.7 / 2.6),
        (Dice(smooth=1.0, foreground_only=True), 1 - 2.4 / 3.6),
        (LogCoshDice(foreground_only=True), math.log(math.cosh(1 - 2 * 0.7 / 2.6))),
        (Jaccard(foreground_only=True), 1 - 0.7 / 1.9),
        (Tversky(0.3, 0.7, foreground_only=True), 1 - 0.7 / (0.7 + 0.3 * 0.9 + 0.7 * 0.3)),
        (FocalTversky(0.3, 0.7, gamma=0.5, foreground_only=True), (1 - 0.7 / (0.7 + 0.3 * 0.9 + 0.7 * 0.3)) ** 0.5),
        (Lovasz(foreground_only=True), 0.6 * 1 / 2 + 0.3 * 1 / 6 + 0.3 * 1 / 3),  # Δ = 1/2, 2/3, 1: pixels 1, 0, 2 by falling errors
        (BoundaryLoss(foreground_only=True), (2 * 0.3 + 1 * 0.6 + 0 * 0.7) / 3),  # φ = 2, 1, 0
    ],
    ids=str,
)
def test_the_foreground_alone_by_hand(loss: torch.nn.Module, expected: float) -> None:
    assert loss(LOGIT, MASK).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", FOREGROUND)
def test_the_foreground_alone_is_for_one_logit(name: str) -> None:
    for classes in (2, 3):
        with pytest.raises(ValueError, match=f"foreground_only=True is for one logit per pixel, and the logits have {classes} classes"):
            FOREGROUND[name](*drawn(0, classes=classes))
    with pytest.raises(ValueError, match=r"logits must be \(N,C,H,W\)"):
        FOREGROUND[name](torch.zeros(2, 1, 4), torch.zeros(2, 4, 4).long())


@pytest.mark.parametrize("name", FOREGROUND)
@pytest.mark.parametrize("present", [2, 1])
def test_gradient_of_the_foreground_matches_finite_differences(name: str, present: int) -> None:
    logits, mask = drawn(5, classes=1, present=present)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: FOREGROUND[name](z, mask), logits)
    (gradient,) = torch.autograd.grad(FOREGROUND[name](logits, mask), logits)
    assert gradient[:, 0][mask == IGNORE].abs().max() == 0
    nothing_to_find = present == 1 and "penalize" not in name
    assert (gradient.abs().max() == 0) == nothing_to_find


@pytest.mark.parametrize("name", FOREGROUND)
def test_the_foreground_alone_where_all_is_ignored_is_zero(name: str) -> None:
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    value = FOREGROUND[name](logits, torch.full((2, 4, 4), IGNORE))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == gradient.abs().max().item() == 0


@pytest.mark.parametrize("kind", [Dice, LogCoshDice, Jaccard, Tversky, FocalTversky, Lovasz, BoundaryLoss])
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_the_default_is_the_mean_of_the_foreground_alone_and_the_background_alone(kind: type[torch.nn.Module], seed: int) -> None:
    """The background alone is the foreground of −z and of the mask with its classes exchanged."""
    logits, mask = drawn(seed, classes=1, present=2)
    mask[0, 0, :2] = torch.tensor([0, 1])
    exchanged = torch.where(mask == IGNORE, IGNORE, 1 - mask)
    alone = kind(foreground_only=True)
    parts = [alone(logits, mask), alone(-logits, exchanged)]
    expected = torch.stack(parts).mean()
    if kind is LogCoshDice:  # of the mean over classes
        expected = torch.stack([part.exp().acosh() for part in parts]).mean().cosh().log()
    torch.testing.assert_close(kind()(logits, mask), expected)


@pytest.mark.parametrize("kind", [Dice, Jaccard, Tversky, FocalTversky])
def test_false_positives_without_a_foreground(kind: type[Dice]) -> None:
    """By default they cost nothing then; with `absent="penalize"` their mean probability."""
    mask = torch.tensor([[[0, 0, 0, IGNORE]]])
    assert kind(foreground_only=True)(LOGIT, mask).item() == 0
    assert kind(foreground_only=True, absent="penalize")(LOGIT, mask).item() == pytest.approx((0.3 + 0.6 + 0.7) / 3)
