"""Properties of every metric: neither batches, their order and padding nor the number of processes change it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seglab.metrics import BoundaryIoU, CalibrationError, ConfusionMatrix
from tests.metrics.blobs import C, Image, image, padded

RATIO = 0.15
"""d from 1 to 3 pixels for images of up to 14×14: padding that counted as image would change it."""


class Metrics:
    """The three, with one way to update and to read them."""

    def __init__(self) -> None:
        self.confusion = ConfusionMatrix(C, per_image=True)
        self.boundary = BoundaryIoU(C, ratio=RATIO)
        self.calibration = CalibrationError()

    def update(self, logits: Tensor, prediction: Tensor, mask: Tensor, size: Tensor) -> None:
        self.confusion.update(prediction, mask)
        self.boundary.update(prediction, mask, size)
        self.calibration.update(logits, mask)

    def found(self) -> dict[str, Tensor]:
        scores = self.confusion.compute()
        assert scores.images is not None
        means = {f"mean {name}": value for name, value in scores.mean.items()}
        return {
            "confusion": scores.confusion,
            "images": scores.images,
            "boundary IoU": self.boundary.compute(),
            "calibration error": self.calibration.compute(),
        } | means


def images(seed: int, number: int) -> list[Image]:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 15, (number, 2), generator=generator).tolist()
    return [image(generator, height, width) for height, width in sizes]


def of(batches: Sequence[Sequence[Image]], extra: int = 0) -> dict[str, Tensor]:
    metrics, generator = Metrics(), torch.Generator().manual_seed(0)
    for batch in batches:
        metrics.update(*padded(batch, generator, extra))
    return metrics.found()


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Check counts and quotients of counts to the last bit, and confidences to float32 precision.

    The softmax of a wider image may differ to this precision.
    """
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = 1e-6 if name == "calibration error" else 0.0
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance, equal_nan=True, msg=f"{name}: {{}}".format)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), sizes=st.permutations([1, 2, 3]), order=st.permutations(range(6)), extra=st.integers(0, 9))
def test_batches_order_and_padding_do_not_matter(seed: int, sizes: list[int], order: list[int], extra: int) -> None:
    ones = images(seed, 6)
    alone = of([[one] for one in ones])
    shuffled = [ones[index] for index in order]
    found = of([shuffled[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(3)], extra)
    alone["images"] = alone["images"][list(order)]
    assert_same(found, alone)


def test_an_image_more_or_less_does() -> None:
    ones = images(0, 6)
    more, less = of([ones]), of([ones[1:]])
    worst = "mean image_miou_worst10"  # of six images and of five it is the worst one, which is in both
    assert torch.equal(more.pop(worst), less.pop(worst))
    assert all(not torch.equal(more[name], less[name]) for name in more)


def test_reset_forgets() -> None:
    metrics, generator = Metrics(), torch.Generator().manual_seed(0)
    metrics.update(*padded(images(0, 3), generator))
    for metric in (metrics.confusion, metrics.boundary, metrics.calibration):
        metric.reset()
    metrics.update(*padded(images(1, 2), generator))
    assert_same(metrics.found(), of([images(1, 2)]))


SHARES = [(5, 0), (0, 5), (3, 2), (1, 4)]


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    results = []
    for seed, shares in enumerate(SHARES):
        mine = images(seed, 5)[: shares[0]] if rank == 0 else images(seed, 5)[shares[0] :]
        metrics, generator = Metrics(), torch.Generator().manual_seed(rank)
        for start in range(0, len(mine), 2):
            metrics.update(*padded(mine[start : start + 2], generator))
        for metric in (metrics.confusion, metrics.boundary, metrics.calibration):
            metric._update_count = 1  # torchmetrics warns on a rank that was given no image
        results.append(metrics.found())
    torch.save(results, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    mp.spawn(worker, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(len(SHARES)))
def test_two_processes_are_one(seed: int, two_ranks: list[list[dict[str, Tensor]]]) -> None:
    """Whatever their shares of the images; a rank may have none."""
    one = of([images(seed, 5)])
    for rank in two_ranks:
        assert_same(rank[seed], one)
