"""The calibration error against torchmetrics and by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from seglab.metrics import CalibrationError
from seglab.networks.forward import classes as predicted_classes
from seglab.sample import IGNORE


def of(logits: Tensor, mask: Tensor, bins: int = 15) -> Tensor:
    metric = CalibrationError(bins)
    metric.update(logits, mask)
    return metric.compute()


def drawn(seed: int, classes: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, classes, 6, 7, generator=generator)
    mask = torch.randint(0, max(classes, 2), (2, 6, 7), generator=generator)
    return logits, mask.masked_fill(torch.rand(mask.shape, generator=generator) < 0.2, IGNORE)


def two_classes(probability: Tensor) -> Tensor:
    """Logits (1,2,1,P) in float64 of pixels in which the first class has these probabilities (P)."""
    return torch.stack([probability.log(), (1 - probability).log()]).view(1, 2, 1, -1)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000), classes=st.integers(2, 6), bins=st.sampled_from([1, 5, 10, 15]), scale=st.sampled_from([0.1, 2.0, 10.0])
)
def test_is_torchmetrics(seed: int, classes: int, bins: int, scale: float) -> None:
    """Drawn confidences lie on no edge of a bin, which theirs count to the upper one."""
    logits, mask = drawn(seed, classes, scale)
    theirs = multiclass_calibration_error(logits.softmax(1), mask, classes, n_bins=bins, norm="l1", ignore_index=IGNORE)
    assert of(logits, mask, bins).item() == pytest.approx(theirs.item(), abs=1e-6)


def test_by_hand() -> None:
    probability = torch.tensor([0.9, 0.9, 0.9, 0.95, 0.7, 0.75, 0.25, 0.9]).double()
    mask = torch.tensor([[[0, 0, 1, 0, 0, 1, 1, IGNORE]]])
    # Bin (0.8, 1]: 4 pixels, 3 right. Bin (0.6, 0.8]: confidences 0.7, 0.75 and, of the second class, 0.75, of which 2
    # are right.
    assert of(two_classes(probability), mask, bins=5).item() == pytest.approx((abs(3 - 3.65) + abs(2 - 2.2)) / 7)


def test_bins_are_closed_on_the_right() -> None:
    metric = CalibrationError(4)
    exactly = torch.tensor([0.0, 100.0, 1.0]).double()
    metric.update(exactly.view(1, 1, 1, 3), torch.ones(1, 1, 3).long())
    assert metric.counts.tolist() == [0, 1, 1, 1]  # ½ belongs to (¼, ½], 0.73 to (½, ¾] and 1 to (¾, 1]
    assert metric.hits.tolist() == [0, 0, 1, 1]  # a tie goes to the first class


@pytest.mark.parametrize("classes", [2, 4, 8, 16])
def test_the_edge_itself_in_float32(classes: int) -> None:
    """Equal logits give exactly 1/C, which is the upper edge of the first of C bins."""
    metric = CalibrationError(classes)
    metric.update(torch.zeros(1, classes, 1, 1), torch.zeros(1, 1, 1).long())
    assert metric.counts.tolist() == [1] + [0] * (classes - 1)


def test_one_logit_is_two_classes() -> None:
    logits, mask = drawn(0, 1)
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    assert of(logits, mask) == of(both, mask)
    sure = torch.full((1, 1, 1, 4), 20.0)
    assert of(sure, torch.ones(1, 1, 4).long()).item() == pytest.approx(0, abs=1e-7)
    assert of(-sure, torch.ones(1, 1, 4).long()).item() == pytest.approx(1, abs=1e-7)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), classes=st.integers(1, 6), whole=st.booleans())
def test_a_given_prediction_changes_nothing(seed: int, classes: int, whole: bool) -> None:
    """Logits that are whole numbers have ties."""
    logits, mask = drawn(seed, classes)
    logits = logits.round() if whole else logits
    found, expected = CalibrationError(), CalibrationError()
    found.update(logits, mask, predicted_classes(logits))
    expected.update(logits, mask)
    for name in ("counts", "hits", "confidences"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, mask = drawn(0, 5)
    narrow = logits.to(dtype)
    assert of(narrow, mask) == of(narrow.float(), mask)


def test_float64_stays_float64() -> None:
    logits = two_classes(torch.tensor([0.75]).double())
    assert of(logits, torch.zeros(1, 1, 1).long()).item() == pytest.approx(0.25, abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_dtype(dtype: torch.dtype) -> None:
    logits, mask = drawn(1, 5)
    assert of(logits, mask.to(dtype)) == of(logits, mask)


def test_uint8_does_not_wrap_around() -> None:
    metric = CalibrationError(ignore_index=-100)
    metric.update(torch.zeros(1, 200, 2, 2), torch.full((1, 2, 2), 156, dtype=torch.uint8))  # −100 modulo 256
    assert metric.counts.sum() == 4


def test_nan_without_a_valid_pixel() -> None:
    logits, mask = drawn(0, 3)
    found = of(logits, torch.full_like(mask, IGNORE))
    assert found.isnan()
    assert found.shape == ()
    assert found.dtype == torch.float64


def test_nothing_of_the_graph_is_kept() -> None:
    logits, mask = drawn(0, 3)
    metric = CalibrationError()
    of_the_batch = metric(logits.requires_grad_(), mask)
    assert not of_the_batch.requires_grad
    assert not metric.confidences.requires_grad


def test_deterministic_algorithms_give_the_same() -> None:
    expected = of(*drawn(0, 3))
    torch.use_deterministic_algorithms(True)
    try:
        assert of(*drawn(0, 3)) == expected
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_have_no_softmax_raise_and_leave_the_state(value: float) -> None:
    logits, mask = drawn(0, 3)
    metric = CalibrationError()
    metric.update(logits, mask)
    before = metric.counts.clone(), metric.hits.clone(), metric.confidences.clone()
    mask[0, 0, 0], mask[0, 0, 1] = IGNORE, 0
    logits[0, 1, 0, 0] = value
    metric.update(logits, mask)  # in an ignored pixel it says nothing
    metric.counts, metric.hits, metric.confidences = (state.clone() for state in before)
    logits[0, 1, 0, 1] = value
    with pytest.raises(ValueError, match="logits must be finite"):
        metric.update(logits, mask)
    assert all(torch.equal(*pair) for pair in zip(before, (metric.counts, metric.hits, metric.confidences), strict=True))


def test_a_class_that_cannot_be_is_no_error() -> None:
    logits, mask = drawn(0, 3)
    logits[:, 2] = -torch.inf
    mask = mask.where(mask != 2, 1)
    assert of(logits, mask).item() == pytest.approx(of(logits[:, :2], mask).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "mask", "message"),
    [
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).long(), r"logits must be \(N,C,H,W\)"),
        (torch.zeros(1, 2, 2, 2).long(), torch.zeros(1, 2, 2).long(), "floating"),
        (torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 3).long(), "to match logits"),
        (torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2), "mask must be .* integer"),
        (torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2), 2), "mask holds 2"),
        (torch.zeros(1, 1, 2, 2), torch.full((1, 2, 2), 2), "mask holds 2, but the classes are 0..1"),
        (torch.zeros(1, 256, 2, 2), torch.zeros(1, 2, 2).long(), "is one of the 256 classes"),
        (torch.zeros(0, 2, 2, 2), torch.zeros(0, 2, 2).long(), "pixels"),
    ],
)
def test_input_errors(logits: Tensor, mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CalibrationError().update(logits, mask)


def test_constructor_errors() -> None:
    with pytest.raises(ValueError, match="bins must be at least 1"):
        CalibrationError(bins=0)
