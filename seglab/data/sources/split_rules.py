"""Rules that divide samples into train, val and test, where neither folders nor lists do: at random, or into folds."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seglab.data.sources.dataset import SPLITS, Split
from seglab.data.sources.splits import Counts, divide, divide_stratified, fold_sizes, rounded_sizes


@dataclass(frozen=True)
class Pool:
    """The samples that a rule divides."""

    names: Sequence[str]
    """Names of the samples, all different."""
    groups: Sequence[str] | None
    """The group of each sample, such as a patient, which is never cut; None without groups."""
    pixels: Callable[[], Counts]
    """Counts the pixels (N,C) of each class in each sample. Reads all masks."""
    has_test: bool
    """True if a folder or list names the test samples, which are not in the pool then."""

    def divided(self, sizes: Sequence[int], seed: int, stratified: bool) -> list[int]:
        """Return the part of each sample."""
        if stratified:
            return divide_stratified(self.names, sizes, seed, self.pixels(), self.groups)
        return divide(self.names, sizes, seed, self.groups)


class SplitRule(ABC):
    """Divides samples into splits. A subclass is a frozen dataclass, and its fields are recorded with a study."""

    seed: int = 0
    """Seed of the training samples that `train_fraction` keeps, and of the rule itself if it draws."""

    @abstractmethod
    def assign(self, pool: Pool) -> list[Split]:
        """Return the split of each sample.

        Raises:
            ValueError: there are too few samples or groups, or the rule does not suit them.
        """


@dataclass(frozen=True)
class RandomSplit(SplitRule):
    """Validation and test samples are drawn at random, whole groups where the source names groups.

    The choice is a function of the seed and of the names of the samples. Without groups and stratification, the test
    samples do not depend on `val_fraction`, the validation samples of a smaller `val_fraction` are among those of a
    larger one, and an added sample moves at most three others.

    Raises:
        ValueError: a fraction is out of its range.
    """

    val_fraction: float = 0.1
    """fraction of the samples that are validation samples."""
    test_fraction: float = 0.2
    """fraction that are test samples; 0 if a folder or list names the test samples."""
    seed: int = 0
    """seed of the choice; it is independent of the seeds of runs."""
    stratified: bool = False
    """give each class about equal shares of images and pixels in every split; reads all masks when data are opened."""

    def __post_init__(self) -> None:
        if not (0 < self.val_fraction < 1 and 0 <= self.test_fraction < 1 and self.val_fraction + self.test_fraction < 1):
            raise ValueError(
                f"val_fraction is {self.val_fraction}, test_fraction {self.test_fraction}: expected more than 0 for val, 0 or more for test, "
                "and less than 1 together"
            )
        _check_seed(self.seed)

    def assign(self, pool: Pool) -> list[Split]:
        """Return the split of each sample."""
        if pool.has_test == (self.test_fraction > 0):
            raise ValueError(
                f"test_fraction is {self.test_fraction}, but there are test samples already: make it 0, or leave them out of the pattern"
                if pool.has_test
                else "test_fraction is 0, and there are no test samples: expected more than 0"
            )
        sizes = rounded_sizes(len(pool.names), (self.val_fraction, self.test_fraction))
        if sizes[0] < 1:
            raise ValueError(f"{len(pool.names)} samples are too few for train, val and test: add samples")
        return [SPLITS[part] for part in pool.divided(sizes, self.seed, self.stratified)]


@dataclass(frozen=True)
class KFold(SplitRule):
    """Cross-validation: the samples, or whole groups of the source, are divided at random into folds of equal size.

    Fold `fold` is test, the next one is val, and the others are train. If a folder or list names the test samples, fold
    `fold` is val.

    Raises:
        ValueError: a field is out of its range.
    """

    fold: int
    """the fold, 0…folds-1, whose samples are held out."""
    folds: int = 5
    """number of folds."""
    seed: int = 0
    """seed of the division, the same for all folds of a cross-validation."""
    stratified: bool = False
    """give each class a similar share of images and pixels in every fold; reads all masks whenever data are opened."""

    def __post_init__(self) -> None:
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise ValueError(f"fold is {self.fold} of folds {self.folds}: expected at least 2 folds, and a fold from 0 to folds - 1")
        _check_seed(self.seed)

    def assign(self, pool: Pool) -> list[Split]:
        """Return the split of each sample."""
        if self.folds < 3 and not pool.has_test:
            raise ValueError(f"folds is {self.folds}: expected at least 3, for train, val and test")
        if len(pool.names) < self.folds:
            raise ValueError(f"{len(pool.names)} samples for {self.folds} folds: expected at least one a fold; ask for fewer folds")
        parts = pool.divided(fold_sizes(len(pool.names), self.folds), self.seed, self.stratified)
        held: dict[int, Split] = {self.fold: "val"} if pool.has_test else {self.fold: "test", (self.fold + 1) % self.folds: "val"}
        return [held.get(part, "train") for part in parts]


def _check_seed(seed: int) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed is {seed!r}: expected a whole number, 0 or more")
