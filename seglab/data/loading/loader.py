"""Loaders: make batches of samples, in worker processes that ignore signals.

The training loader can resume within an epoch.
"""

import atexit
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.queues import Queue
from multiprocessing.reduction import ForkingPickler
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from seglab.data.loading.sampler import EpochSampler
from seglab.memory import keep_freed_memory
from seglab.sample import IGNORE, Batch, Sample

_END_SECONDS = 0.2
"""Time within which a process ends at SIGTERM, unless it ignores the signal."""


def collate(samples: Sequence[Sample], at_least: tuple[int, int] = (0, 0)) -> Batch:
    """Stack N samples. Smaller images are padded with 0 and smaller masks with `IGNORE`, at the bottom and the right.

    The result has the rows and columns of the largest sample, and no fewer than `at_least`.
    """
    images, masks = [sample.image for sample in samples], [sample.mask for sample in samples]
    return Batch(
        image=_stack(images, 0, at_least),
        mask=_stack(masks, IGNORE, at_least),
        name=tuple(sample.name for sample in samples),
        image_size=torch.tensor([image.shape[-2:] for image in images]),
        mask_size=torch.tensor([mask.shape[-2:] for mask in masks]),
    )


def _send(batch: Batch) -> tuple[Any, ...]:
    """Return how a worker's batch is sent: its sizes as numbers, as each tensor that is sent takes a socket and a file.

    Only processes of this machine receive it; batches are saved and moved to devices as ever.
    """
    return _received, (batch.image, batch.mask, batch.name, batch.image_size.tolist(), batch.mask_size.tolist())


def _received(image: Tensor, mask: Tensor, name: tuple[str, ...], image_size: list[list[int]], mask_size: list[list[int]]) -> Batch:
    return Batch(image, mask, name, torch.tensor(image_size), torch.tensor(mask_size))


ForkingPickler.register(Batch, _send)


def _stack(tensors: Sequence[Tensor], fill: int, at_least: tuple[int, int]) -> Tensor:
    """Stack N tensors (…,H,W) to (N,…,max H,max W).

    Uses NumPy, because torch would wake its threads for every batch.
    """
    height, width = (max(at_least[axis], *(tensor.shape[axis - 2] for tensor in tensors)) for axis in (0, 1))
    arrays = [tensor.numpy() for tensor in tensors]
    shape = (*arrays[0].shape[:-2], height, width)
    stacked = np.empty((len(arrays), *shape), arrays[0].dtype)
    for row, array in zip(stacked, arrays, strict=True):
        if array.shape != shape:
            row.fill(fill)
        if array.shape == shape and len(shape) == 3 and shape[0] == 3 and array.dtype == np.uint8:
            cv2.split(array.transpose(1, 2, 0), list(row))  # copies colours (H,W,3) in less time than NumPy
        else:
            row[..., : array.shape[-2], : array.shape[-1]] = array
    return torch.from_numpy(stacked)


def prepare_worker(worker: int) -> None:
    """Let a worker ignore signals and keep freed memory, and end it if a batch cannot be sent.

    A batch that finds no room in /dev/shm cannot be sent, and the main process would wait for it forever
    (https://github.com/pytorch/pytorch/issues/1355).
    """
    ignore_signals(worker)
    keep_freed_memory()
    cv2.setNumThreads(0)  # the workers are the threads: OpenCV's own, one a processor in each worker, would wait for each other
    Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def ignore_signals(worker: int) -> None:
    """Ignore signals in a worker.

    Ctrl-C and the signals of a scheduler reach every process, but only the main process handles them.
    """
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


@atexit.register
def end_workers() -> None:
    """End the daemonic processes of this process before it ends.

    Python would only send them SIGTERM and wait. Workers that a loader still holds ignore this signal, so that the
    process would wait for ever.
    """
    children = [child for child in multiprocessing.active_children() if child.daemon]
    for child in children:
        child.terminate()
    for child in children:
        child.join(_END_SECONDS)
        if child.is_alive():
            child.kill()
            child.join()


def _end(error: Exception, batch: object) -> None:
    """End this process.

    The thread that sends batches calls this; by default it prints the error, and goes on with the next batch.
    """
    traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(1)


def _own_message(error: ValueError) -> str:
    """Return the message of a ValueError. A worker's error has the text of its traceback before its message."""
    text = str(error)
    return text.rpartition("\nValueError: ")[2].strip() if text.startswith("Caught ValueError in DataLoader worker") else text


class TrainLoader(DataLoader[Batch]):
    """A `DataLoader` over an `EpochSampler`, whose position Lightning saves and loads to continue an interrupted epoch.

    The iterator is lazy, because Lightning makes the first iterator before it sets the sampler's epoch.
    The length is the length of the whole epoch, because Lightning counts batches from the start of the epoch.
    """

    sampler: EpochSampler

    _epoch = -1
    _batches = 0
    _resuming = False

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        sampler = self.sampler
        resume, self._resuming = self._resuming and self._epoch == sampler.epoch, False
        self._epoch, self._batches = sampler.epoch, self._batches if resume else 0
        sampler.first_batch = self._batches
        try:
            for batch in super().__iter__():
                self._batches += 1
                yield batch
        except ValueError as error:
            raise ValueError(_own_message(error)) from error

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, and the number of batches yielded in it."""
        return {"epoch": self._epoch, "batches": self._batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Skip the batches in `state` in the next iterator, if it belongs to the same epoch."""
        self._epoch, self._batches, self._resuming = state["epoch"], state["batches"], True
