"""Check of two processes, each with half of a batch, against one process with the whole batch."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException, spawn
from torch.nn.parallel import DistributedDataParallel

from seglab.checking.candidate import Subject, number
from seglab.checking.outcomes import Outcome, first_line, told, verdict
from seglab.sample import IGNORE

DEADLINE = 180.0
"""Seconds after which the processes are killed in any case."""
PATIENCE = timedelta(seconds=60)
"""Time for which one process waits for the other."""
TOLERANCE = 1e-3

LogitsAndMask = tuple[Tensor, Tensor]


class _Trained(nn.Module):
    """A small network followed by the loss, as in a training."""

    def __init__(self, candidate: Subject) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = nn.Conv2d(3, candidate.classes, 3, padding=1)
        self.loss = candidate.build()

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        return number(self.loss(self.network(images), mask))


def two_processes(candidate: Subject) -> Outcome:
    """Check that the gradient averaged over two processes equals the gradient of one process on the joint batch."""
    if not dist.is_available() or not dist.is_gloo_available():
        return told("not tried: this PyTorch has no gloo")
    joint, network = joint_batch(candidate), _Trained(candidate).network
    if not all(candidate.takes(network(images), mask) for images, mask in (joint, *_halves(joint))):
        return told("not tried: it fails on one process, where a class or an image has no labels")
    (averaged,) = averaged_gradients([candidate])
    return compared(candidate, averaged)


def compared(candidate: Subject, averaged: Tensor) -> Outcome:
    """Compare the averaged gradient (all weights in one vector) with the gradient of one process."""
    alone = gradient(_Trained(candidate), *joint_batch(candidate))
    error = ((averaged - alone).norm() / alone.norm()).item()
    return verdict(error <= TOLERANCE, f"the gradient that two processes average is {error:.2g} of its norm off that of one")


def joint_batch(candidate: Subject) -> LogitsAndMask:
    """Return images (4,3,H,W) and a mask (4,H,W).

    The two halves of the batch differ in classes and in the number of labelled pixels. One image has no labels.
    """
    _, mask = candidate.batch(4, ignored=0.2)
    last = candidate.labels - 1
    mask[:2] = torch.where(mask[:2] == last, 0, mask[:2])
    mask[2, :8], mask[3] = IGNORE, IGNORE
    return torch.randn(4, 3, *mask.shape[1:], generator=torch.Generator().manual_seed(1)), mask


def gradient(model: nn.Module, images: Tensor, mask: Tensor) -> Tensor:
    """Return the gradient of all weights in one vector."""
    model(images, mask).backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def averaged_gradients(candidates: Sequence[Subject]) -> list[Tensor]:
    """Return the gradient of each candidate's weights (one vector), averaged by DDP over two gloo processes.

    Raises:
        RuntimeError: if a process ends early, with the reason of the process that failed first.
        TimeoutError: if the processes do not end in time.
    """
    with TemporaryDirectory(prefix="seglab-check-") as name:
        _spawn(Path(name), candidates)
        averaged: list[Tensor] = torch.load(Path(name, "gradients.pt"), weights_only=True)
        return averaged


def _halves(joint: LogitsAndMask) -> Iterator[LogitsAndMask]:
    images, mask = joint
    return zip(images.chunk(2), mask.chunk(2), strict=True)


def _spawn(folder: Path, candidates: Sequence[Subject]) -> None:
    """Run the two processes until they end. Kill them if one fails or the deadline has passed."""
    with _deaf_to_interrupts():
        context = spawn(_work, args=(folder, candidates), nprocs=2, join=False)  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + DEADLINE
    try:
        while not context.join(timeout=1.0):
            if time.monotonic() > deadline:
                raise TimeoutError(f"two processes did not end in {DEADLINE:.0f} s: does one wait for the other?")
    except ProcessException as error:
        reason = folder / "reason"
        raise RuntimeError(reason.read_text(encoding="utf-8") if reason.exists() else error.msg) from None
    finally:
        for process in context.processes:
            process.kill()
            process.join()


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes in this context with Ctrl-C ignored.

    Otherwise Ctrl-C raises KeyboardInterrupt while a process imports its modules, and the process prints a traceback.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(rank: int, folder: Path, candidates: Sequence[Subject]) -> None:
    """Run one of the two processes. Rank 0 writes the gradients. The process that fails first writes the reason."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _silence()
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=PATIENCE)
        averaged = [_averaged(candidate, rank) for candidate in candidates]
        if rank == 0:
            torch.save(averaged, folder / "gradients.pt")
        dist.barrier()
        dist.destroy_process_group()
    except Exception as error:  # noqa: BLE001 - whatever a loss raises
        with contextlib.suppress(FileExistsError), (folder / "reason").open("x", encoding="utf-8") as file:
            file.write(f"on process {rank}: {first_line(error)}")
        sys.exit(1)


def _averaged(candidate: Subject, rank: int) -> Tensor:
    return gradient(DistributedDataParallel(_Trained(candidate)), *list(_halves(joint_batch(candidate)))[rank])


def _silence() -> None:
    """Redirect stdout and stderr to nowhere at the level of file descriptors, because gloo prints from C++."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
