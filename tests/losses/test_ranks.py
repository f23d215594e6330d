"""Two real processes give the gradient of one process on the joint batch."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seglab.sample import IGNORE
from tests.losses.catalogue import FOREGROUND, LOSSES


def joint_batch() -> tuple[Tensor, Tensor]:
    """Return images (4,2,6,6) and a mask (4,6,6) whose second half differs in classes and valid pixels.

    The second half has other classes, fewer valid pixels and an image that is all ignored.
    """
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 3, (4, 6, 6), generator=generator)
    mask[2, :4], mask[3] = IGNORE, IGNORE
    mask[:2] = mask[:2].clamp(max=1)
    return torch.randn(4, 2, 6, 6, generator=generator), mask


def network(logits: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return nn.Conv2d(2, logits, 3, padding=1)


def foreground(mask: Tensor) -> Tensor:
    """The mask (N,H,W) with all classes but the first as one."""
    return mask.where((mask == IGNORE) | (mask == 0), 1)


def train(model: nn.Module, loss: nn.Module, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    model.zero_grad()
    value = loss(model(images), mask)
    value.backward()
    return value.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    images, mask = (half.chunk(2)[rank] for half in joint_batch())
    trained = {name: train(DistributedDataParallel(network()), loss, images, mask) for name, loss in LOSSES.items()}
    trained |= {
        f"foreground {name}": train(DistributedDataParallel(network(1)), loss, images, foreground(mask))
        for name, loss in FOREGROUND.items()
    }
    if rank == 0:  # an evaluation of which the other rank has no batch: a collective here would hang
        with torch.no_grad():
            LOSSES["sum"](network()(images), mask)
    torch.save(trained, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple[Tensor, Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    mp.spawn(worker, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_are_one(name: str, two_ranks: list[dict[str, tuple[Tensor, Tensor]]]) -> None:
    value, gradient = train(network(), LOSSES[name], *joint_batch())
    assert gradient.abs().max() > 1e-4
    for rank in two_ranks:
        torch.testing.assert_close(rank[name][0], value)
        torch.testing.assert_close(rank[name][1], gradient)


@pytest.mark.parametrize("name", FOREGROUND)
def test_two_processes_are_one_for_the_foreground_of_one_logit(name: str, two_ranks: list[dict[str, tuple[Tensor, Tensor]]]) -> None:
    images, mask = joint_batch()
    value, gradient = train(network(1), FOREGROUND[name], images, foreground(mask))
    assert gradient.abs().max() > 1e-4
    for rank in two_ranks:
        torch.testing.assert_close(rank[f"foreground {name}"][0], value)
        torch.testing.assert_close(rank[f"foreground {name}"][1], gradient)


def test_the_halves_alone_would_differ() -> None:
    images, mask = joint_batch()
    halves = [train(network(), LOSSES["dice"], i, m)[1] for i, m in zip(images.chunk(2), mask.chunk(2), strict=True)]
    assert not torch.allclose(torch.stack(halves).mean(0), train(network(), LOSSES["dice"], images, mask)[1], atol=1e-3)
