"""Focal, OHEM and the losses on probabilities against hand-computed cases, plain loops and torch."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss
from torchvision.ops import sigmoid_focal_loss

from seglab.losses import OHEM, Brier, CrossEntropy, Focal, SmoothL1Loss
from seglab.sample import IGNORE
from tests.losses.catalogue import drawn, logits_of

LOGITS = logits_of([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9], [0.5, 0.5]])
MASK = torch.tensor([[[0, 0, 1, IGNORE]]])
TRUE = (0.8, 0.4, 0.9)


def test_by_hand() -> None:
    def mean(cost: Callable[[float], float]) -> float:
        return sum(map(cost, TRUE)) / 3

    assert Focal()(LOGITS, MASK).item() == pytest.approx(mean(lambda p: -((1 - p) ** 2) * math.log(p)), abs=1e-6)
    weighted = [-(1 - p) * math.log(p) * w for p, w in zip(TRUE, (1, 1, 3), strict=True)]
    assert Focal(gamma=1.0, weight=[1.0, 3.0])(LOGITS, MASK).item() == pytest.approx(sum(weighted) / 5, abs=1e-6)
    assert Brier()(LOGITS, MASK).item() == pytest.approx(mean(lambda p: 2 * (1 - p) ** 2), abs=1e-6)
    huber = [2 * ((1 - p) ** 2 / 0.4 if 1 - p < 0.2 else 1 - p - 0.1) for p in TRUE]
    assert SmoothL1Loss(beta=0.2)(LOGITS, MASK).item() == pytest.approx(sum(huber) / 3, abs=1e-6)
    assert OHEM(threshold=0.5, at_least=0.01)(LOGITS, MASK).item() == pytest.approx(-math.log(0.4), abs=1e-6)
    two_of_three = -(math.log(0.4) + math.log(0.8)) / 2
    assert OHEM(threshold=0.01, at_least=0.5)(LOGITS, MASK).item() == pytest.approx(two_of_three, abs=1e-6)
    assert OHEM(threshold=0.0, at_least=1 / 3)(LOGITS, MASK).item() == pytest.approx(-math.log(0.4), abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), gamma=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 3.5]))
def test_focal_of_two_classes_is_torchvisions(seed: int, gamma: float) -> None:
    logits, mask = drawn(seed, ignored=0, classes=1, present=2)
    theirs = sigmoid_focal_loss(logits[:, 0], mask.float(), alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(Focal(gamma=gamma)(logits, mask), theirs)


def test_focal_without_focus_is_cross_entropy() -> None:
    logits, mask = drawn(0)
    torch.testing.assert_close(Focal(gamma=0.0)(logits, mask), CrossEntropy()(logits, mask))
    weight = [1.0, 0.0, 3.0]
    torch.testing.assert_close(Focal(gamma=0.0, weight=weight)(logits, mask), CrossEntropy(weight=weight)(logits, mask))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), present=st.integers(1, 3))
def test_brier_and_smooth_l1_are_scikit_learns_and_torchs(seed: int, present: int) -> None:
    logits, mask = drawn(seed, present=present)
    valid = mask != IGNORE
    p, y = logits.softmax(1).movedim(1, -1)[valid], mask[valid]
    theirs = brier_score_loss(
        y.numpy(), p.double().numpy() / p.double().sum(1, keepdim=True).numpy(), labels=[0, 1, 2], scale_by_half=False
    )
    assert Brier()(logits, mask).item() == pytest.approx(theirs, abs=1e-6)
    assert Brier()(logits, mask).item() == pytest.approx(3 * F.mse_loss(p, F.one_hot(y, 3).float()).item(), abs=1e-6)
    for beta in (0.05, 0.2, 1.0, 4.0):
        torch.testing.assert_close(SmoothL1Loss(beta)(logits, mask), 3 * F.smooth_l1_loss(p, F.one_hot(y, 3).float(), beta=beta))
    torch.testing.assert_close(SmoothL1Loss(2.0)(logits, mask), Brier()(logits, mask) / 4)


def test_smooth_l1_has_two_sides() -> None:
    low, high = logits_of([[0.3, 0.7]]), logits_of([[0.7, 0.3]])
    zero, one = torch.tensor([[[0]]]), torch.tensor([[[1]]])
    assert SmoothL1Loss()(low, zero).item() == pytest.approx(SmoothL1Loss()(high, one).item())
    assert SmoothL1Loss()(low, zero).item() == pytest.approx(2 * (0.7 - 0.1), abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    threshold=st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0]),
    at_least=st.sampled_from([0.01, 0.26, 1.0]),
    ignored=st.sampled_from([0.0, 0.4, 0.9]),
)
def test_ohem_is_that_of_a_sorted_list(seed: int, threshold: float, at_least: float, ignored: float) -> None:
    logits, mask = drawn(seed, ignored)
    mask[0, 0, 0] = 0
    p = logits.softmax(1).movedim(1, -1)[mask != IGNORE].gather(1, mask[mask != IGNORE][:, None])[:, 0].double().numpy()
    hardest = np.sort(p)
    kept = max(int((hardest < threshold).sum()), math.ceil(at_least * len(p)))
    assert OHEM(threshold, at_least)(logits, mask).item() == pytest.approx(-np.log(hardest[:kept]).mean(), abs=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Focal(gamma=-1.0), "gamma must be a finite number ≥ 0, got -1.0"),
        (lambda: Focal(gamma=math.inf), "gamma must be a finite number ≥ 0, got inf"),
        (lambda: Focal(gamma=math.nan), "gamma must be a finite number ≥ 0, got nan"),
        (lambda: Focal(weight=[0.0, 0.0]), "one of them positive"),
        (lambda: OHEM(threshold=-0.1), r"threshold must be in \[0, 1\]"),
        (lambda: OHEM(threshold=1.1), r"threshold must be in \[0, 1\]"),
        (lambda: OHEM(at_least=0.0), r"at_least must be in \(0, 1\].* with 0 no pixel might be selected"),
        (lambda: OHEM(at_least=1.5), r"at_least must be in \(0, 1\]"),
        (lambda: SmoothL1Loss(beta=0.0), "beta must be"),
        (lambda: SmoothL1Loss(beta=math.nan), "beta must be"),
    ],
)
def test_pixel_errors(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_number_of_focal_weights_is_checked() -> None:
    with pytest.raises(ValueError, match="2 numbers, but the logits have 3 classes"):
        Focal(weight=[1.0, 2.0])(*drawn(0))
