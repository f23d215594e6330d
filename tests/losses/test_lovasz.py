"""Lovász-softmax against sets of pixels, a linear program, scikit-learn, SMP and two real processes."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from segmentation_models_pytorch.losses import LovaszLoss
from sklearn.metrics import jaccard_score
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional as F

from seglab.losses.lovasz import Lovasz, jaccard_increments
from seglab.losses.region import Reduction
from seglab.sample import IGNORE
from tests.losses.catalogue import drawn

REDUCTIONS: tuple[Reduction, ...] = ("batch", "image")
Floats = npt.NDArray[np.float64]


def delta(wrong: set[int], truth: set[int]) -> float:
    """1 − IoU of a class with the pixels `truth`, where the pixels `wrong` are mistaken and no other."""
    predicted = truth ^ wrong
    return 1 - len(truth & predicted) / len(truth | predicted)


def extension(errors: Floats, truth: set[int]) -> float:
    """The Lovász extension of Δ at (M,) errors, from its definition: nested sets of the pixels with the largest."""
    order = sorted(range(len(errors)), key=lambda pixel: -errors[pixel])
    nested = [delta(set(order[:size]), truth) for size in range(len(order) + 1)]
    return sum(float(errors[pixel]) * (after - before) for pixel, (before, after) in zip(order, pairwise(nested), strict=True))


def convex_closure(errors: Floats, truth: set[int]) -> float:
    """Return the largest convex function that nowhere exceeds Δ, at (M,) errors.

    It is the cheapest mixture of sets whose mean is `errors`.
    """
    pixels = range(len(errors))
    subsets = [{pixel for pixel in pixels if code >> pixel & 1} for code in range(2 ** len(errors))]
    constraints = [[float(pixel in subset) for subset in subsets] for pixel in pixels] + [[1.0] * len(subsets)]
    found = linprog([delta(subset, truth) for subset in subsets], A_eq=constraints, b_eq=[*errors, 1.0])
    return float(found.fun)


def expected(logits: Tensor, mask: Tensor, of_class: object = extension) -> float:
    """The loss of logits (N,C,H,W) and a mask (N,H,W) together, in numpy."""
    p = logits.double().softmax(1).movedim(1, -1)[mask != IGNORE].numpy()
    labels = mask[mask != IGNORE].numpy()
    present = np.unique(labels)
    costs = [of_class(np.abs((labels == c) - p[:, c]), set(np.flatnonzero(labels == c))) for c in present]  # type: ignore[operator]
    return float(np.mean(costs))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), ignored=st.sampled_from([0.0, 0.4]), present=st.integers(1, 3))
def test_it_is_the_lovasz_extension_of_one_minus_iou(seed: int, ignored: float, present: int) -> None:
    logits, mask = drawn(seed, ignored, present=present)
    assert Lovasz()(logits, mask).item() == pytest.approx(expected(logits, mask), abs=1e-6)
    images = [expected(logits[i : i + 1], mask[i : i + 1]) for i in range(2)]
    assert Lovasz(reduction="image")(logits, mask).item() == pytest.approx(np.mean(images), abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), pixels=st.integers(1, 6), present=st.integers(1, 3))
def test_it_is_the_convex_closure_of_one_minus_iou(seed: int, pixels: int, present: int) -> None:
    logits, mask = drawn(seed, ignored=0, present=present)
    logits, mask = logits[:1].flatten(2)[..., None, :pixels], mask[:1].flatten(1)[:, None, :pixels]
    assert Lovasz()(logits, mask).item() == pytest.approx(expected(logits, mask, convex_closure), abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), present=st.integers(1, 3))
def test_hard_predictions_cost_one_minus_iou(seed: int, present: int) -> None:
    logits, mask = drawn(seed, present=present)
    predicted = logits.argmax(1)
    truth = mask[mask != IGNORE].numpy()
    iou = jaccard_score(truth, predicted[mask != IGNORE].numpy(), labels=np.unique(truth), average="macro")
    hard = 200 * F.one_hot(predicted, 3).movedim(-1, 1).float()
    torch.testing.assert_close(Lovasz()(hard, mask), torch.tensor(1 - iou, dtype=torch.float32))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), reduction=st.sampled_from(REDUCTIONS))
def test_it_is_smps(seed: int, reduction: Reduction) -> None:
    logits, mask = drawn(seed)
    logits.requires_grad_()
    of_smp = LovaszLoss("multiclass", per_image=reduction == "image", ignore_index=IGNORE)(logits, mask)
    value = Lovasz(reduction)(logits, mask)
    torch.testing.assert_close(value, of_smp)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (value, of_smp)), atol=1e-6, rtol=1e-4)


def with_ties(seed: int) -> tuple[Tensor, Tensor]:
    """Logits of a few values, 200 among them: many errors are equal, some exactly 0 or 1."""
    logits, mask = drawn(seed, ignored=0.4)
    return (logits.round() * torch.tensor([1.0, 200.0]).view(2, 1, 1, 1)).requires_grad_(), mask


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_ignored_pixels_are_as_if_removed(seed: int) -> None:
    logits, mask = with_ties(seed)
    rest = logits.movedim(1, -1)[mask != IGNORE].T[None, :, None], mask[mask != IGNORE][None, None]
    value, without = Lovasz()(logits, mask), Lovasz()(*rest)
    torch.testing.assert_close(value, without)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (value, without)))


@pytest.mark.parametrize("ignore", [0, 2, -100])
def test_any_value_may_be_the_one_ignored(ignore: int) -> None:
    logits, mask = drawn(0, ignored=0)
    for reduction in REDUCTIONS:
        value = Lovasz(reduction, ignore_index=ignore)(logits, mask)
        torch.testing.assert_close(value, Lovasz(reduction)(logits, mask.where(mask != ignore, IGNORE)))


def test_an_image_that_is_all_ignored_is_left_out_of_the_mean() -> None:
    logits, mask = drawn(0)
    mask[1] = IGNORE
    torch.testing.assert_close(Lovasz(reduction="image")(logits, mask), Lovasz()(logits[:1], mask[:1]))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), pixels=st.integers(1, 30))
def test_increments_sum_to_one_and_are_never_negative(seed: int, pixels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    errors, y = torch.rand(4, pixels, generator=generator).double(), torch.rand(4, pixels, generator=generator) < 0.3
    increments = jaccard_increments(errors, y)
    torch.testing.assert_close(increments.sum(1), y.any(1).double())
    assert increments.min() >= 0


def test_large_images_keep_the_precision_of_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 500, 500, generator=generator)
    mask = (torch.rand(1, 500, 500, generator=generator) < 0.1).long()
    single, double = logits.clone().requires_grad_(), logits.double().requires_grad_()
    Lovasz()(single, mask).backward()
    Lovasz()(double, mask).backward()
    assert single.grad is not None
    assert double.grad is not None
    apart = (single.grad - double.grad).abs() / double.grad.abs()
    assert apart.quantile(0.999) < 1e-4  # the rest have swapped places with an error that is equal in float32


def test_no_python_looks_at_a_value() -> None:
    with FakeTensorMode():
        for loss in (Lovasz(), Lovasz(reduction="image")):
            logits = torch.zeros(2, 3, 4, 5, requires_grad=True)
            loss(logits, torch.zeros(2, 4, 5, dtype=torch.int64)).backward()
            assert isinstance(logits.grad, FakeTensor), "a value was there to be looked at"


def test_a_word_that_is_none() -> None:
    with pytest.raises(ValueError, match="reduction must be 'batch' or 'image', got 'mean'"):
        Lovasz("mean")  # type: ignore[arg-type]


def test_repr_is_complete() -> None:
    assert repr(Lovasz("image", 7)) == "Lovasz(reduction='image', ignore_index=7, foreground_only=False)"


CASES = [(seed, reduction) for seed in range(4) for reduction in REDUCTIONS]


def case(seed: int) -> tuple[Tensor, Tensor]:
    """Four images with ties; in every second case the last two are all ignored."""
    halves = [with_ties(10 + seed), with_ties(20 + seed)]
    if seed % 2:
        halves[1][1].fill_(IGNORE)
    return torch.cat([logits.detach() for logits, _ in halves]), torch.cat([mask for _, mask in halves])


def value_and_gradient(logits: Tensor, mask: Tensor, reduction: Reduction) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = Lovasz(reduction)(logits, mask)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    halves = [([half.chunk(2)[rank] for half in case(seed)], reduction) for seed, reduction in CASES]
    found = [value_and_gradient(logits, mask, reduction) for (logits, mask), reduction in halves]
    if rank == 0:  # an evaluation of which the other rank has no batch: a collective here would hang
        (logits, mask), _ = halves[0]
        Lovasz()(logits, mask)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_are_one_where_errors_tie(tmp_path: Path) -> None:
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for index, (seed, reduction) in enumerate(CASES):
        value, gradient = value_and_gradient(*case(seed), reduction)
        assert gradient.abs().max() > 1e-4
        for rank in ranks:
            torch.testing.assert_close(rank[index][0], value)
        averaged = torch.cat([rank[index][1] for rank in ranks]) / 2  # what DDP makes of them
        torch.testing.assert_close(averaged, gradient)
