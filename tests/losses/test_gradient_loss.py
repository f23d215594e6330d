"""The gradient loss against loops over pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional as F

from seglab.losses.gradient import GradientLoss
from seglab.sample import IGNORE
from tests.losses.catalogue import drawn


def by_loops(logits: Tensor, mask: Tensor) -> float:
    """The loss of logits (N,C,H,W) and a mask (N,H,W), pixel by pixel in Python."""
    p, labels = logits.double().softmax(1).tolist(), mask.tolist()
    total, stencils = 0.0, 0
    for p_image, rows in zip(p, labels, strict=True):
        for i, row in enumerate(rows):
            for j, label in enumerate(row):
                if i + 1 == len(rows) or j + 1 == len(row) or IGNORE in (label, row[j + 1], rows[i + 1][j]):
                    continue
                stencils += 1
                for c, p_c in enumerate(p_image):
                    along_x = (p_c[i][j + 1] - p_c[i][j]) - ((row[j + 1] == c) - (label == c))
                    along_y = (p_c[i + 1][j] - p_c[i][j]) - ((rows[i + 1][j] == c) - (label == c))
                    total += (along_x**2 + along_y**2) / len(p_image)
    return total / max(stencils, 1)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), ignored=st.sampled_from([0.0, 0.2, 0.9, 1.0]), classes=st.integers(2, 4), present=st.integers(1, 2))
def test_it_is_the_mean_over_stencils(seed: int, ignored: float, classes: int, present: int) -> None:
    logits, mask = drawn(seed, ignored, classes, present)
    assert GradientLoss()(logits, mask).item() == pytest.approx(by_loops(logits, mask), abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), padding=st.tuples(*[st.integers(0, 3)] * 4))
def test_ignored_padding_on_any_side_changes_nothing(seed: int, padding: tuple[int, int, int, int]) -> None:
    logits, mask = drawn(seed)
    padded = GradientLoss()(F.pad(logits, padding, value=7.0), F.pad(mask, padding, value=IGNORE))
    torch.testing.assert_close(padded, GradientLoss()(logits, mask))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_classes_images_and_axes_may_change_places(seed: int) -> None:
    logits, mask = drawn(seed)
    value = GradientLoss()(logits, mask)
    order = torch.tensor([2, 0, 1])
    renamed = torch.where(mask == IGNORE, IGNORE, order.argsort()[mask.where(mask != IGNORE, 0)])
    torch.testing.assert_close(GradientLoss()(logits[:, order], renamed), value)
    torch.testing.assert_close(GradientLoss()(logits.flip(0), mask.flip(0)), value)
    torch.testing.assert_close(GradientLoss()(logits.mT, mask.mT), value)


def test_right_edges_cost_nothing_and_inverted_ones_four() -> None:
    mask = torch.zeros(1, 4, 6, dtype=torch.int64)
    mask[..., 3:] = 1
    logits = 60 * F.one_hot(mask, 2).movedim(-1, 1).float()
    assert GradientLoss()(logits, mask).item() == 0
    assert GradientLoss()(-logits, mask).item() == pytest.approx(4 * 3 / 15)  # 3 of the 15 stencils meet the edge


@pytest.mark.parametrize("size", [(1, 5), (5, 1), (1, 1)])
def test_without_a_stencil_it_is_zero(size: tuple[int, int]) -> None:
    logits = torch.randn(2, 3, *size, requires_grad=True)
    value = GradientLoss()(logits, torch.ones(2, *size, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("ignore", [0, 2, -100])
def test_any_value_may_be_the_one_ignored(ignore: int) -> None:
    logits, mask = drawn(0, ignored=0)
    expected = GradientLoss()(logits, mask.where(mask != ignore, IGNORE))
    torch.testing.assert_close(GradientLoss(ignore_index=ignore)(logits, mask), expected)


def test_no_python_looks_at_a_value() -> None:
    with FakeTensorMode():
        logits = torch.zeros(2, 3, 4, 5, requires_grad=True)
        GradientLoss()(logits, torch.zeros(2, 4, 5, dtype=torch.int64)).backward()
        assert isinstance(logits.grad, FakeTensor), "a value was there to be looked at"


def test_repr_is_complete() -> None:
    assert repr(GradientLoss(7)) == "GradientLoss(ignore_index=7)"
