"""Order of training samples: a function of (seed, epoch) alone, so that workers, ranks and a resume change nothing."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

_ORDER = 1  # separates these random numbers from those of the augmentation


class EpochSampler(Sampler[tuple[int, ...]]):
    """Yields keys (epoch, index) for one rank.

    At every step, the parts of all ranks together are one global batch of the permuted data.

    With `probabilities`, an epoch draws `length` samples with replacement, in place of a permutation. If a sample is
    drawn again in an epoch, its key is (epoch, index, number of earlier draws), so that it is augmented in another way.

    A smaller last batch is dropped, unless it is the only batch. Lightning calls `set_epoch` on a loader's `sampler`
    (never on a `batch_sampler`) at the start of each epoch, after it has made the first iterator: see `TrainLoader`.

    Args:
        length: number of samples.
        batch_size: samples in a batch of all ranks together.
        seed: a non-negative integer.
        rank: number of this process.
        world_size: number of processes that share a batch.
        probabilities: returns the probability of each sample, (length,), the same on all ranks. It is called when an
            epoch begins, because counting pixels takes time. None for a permutation.

    Raises:
        ValueError: there are no samples, or a batch does not split evenly over the ranks.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        probabilities: Callable[[], npt.NDArray[np.float64]] | None = None,
    ) -> None:
        if length < 1:
            raise ValueError("the training split has no samples: training needs at least one")
        self.length, self.seed, self.rank, self.world_size = length, seed, rank, world_size
        self.batch_size = min(batch_size, length)
        self.batch_size_per_rank = split_batch(self.batch_size, world_size)
        self.batches = length // self.batch_size
        self.probabilities = probabilities
        self.epoch = 0
        self.first_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iterator."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * self.batch_size_per_rank

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        first, self.first_batch = self.first_batch, 0
        keys = self._keys(self.epoch)
        for batch in range(first, self.batches):
            start = batch * self.batch_size
            yield from keys[start + self.rank : start + self.batch_size : self.world_size]

    def _keys(self, epoch: int) -> list[tuple[int, ...]]:
        """Return the keys of a whole epoch on all ranks, in order."""
        rng = np.random.default_rng([_ORDER, self.seed, epoch])
        if self.probabilities is None:
            return [(epoch, index) for index in rng.permutation(self.length).tolist()]
        keys, came = list[tuple[int, ...]](), Counter[int]()
        for index in rng.choice(self.length, self.length, p=self.probabilities()).tolist():
            keys.append((epoch, index, came[index]) if came[index] else (epoch, index))
            came[index] += 1
        return keys


def split_batch(batch_size: int, world_size: int) -> int:
    """Return the number of samples of a global batch that each rank gets.

    Raises:
        ValueError: the batch does not divide evenly.
    """
    if batch_size % world_size != 0:
        raise ValueError(
            f"a batch of {batch_size} is shared by all ranks and does not divide among {world_size}: "
            f"choose a batch_size that is a multiple of {world_size}"
        )
    return batch_size // world_size
