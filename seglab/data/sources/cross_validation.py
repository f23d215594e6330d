"""Cross-validation over a study's seeds: all samples of a source are divided anew, and each seed tests on others."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from seglab.data.loading.part import part_of
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.files import PairedFiles
from seglab.data.sources.folds import Redivided, joined
from seglab.data.sources.splits import divide, fold_sizes, rounded_sizes


@dataclass(frozen=True)
class CrossValidation(Redivided):
    """All samples of another source, its test samples too, in splits that follow from the seed of a run.

    Seed s is in repetition r = s // `folds`. Each repetition divides the samples at random into `folds` folds of equal
    size. Fold s mod `folds` is test. A random part of the other samples is val: as large a share as val has of train
    and val in the source. The rest is train. The splits depend on the numbers of samples, on the groups and on the seed
    alone. Groups, such as the images of one patient, are never cut.

    Raises:
        ValueError: there are fewer than 2 folds, or the source says that its samples are not alike.
    """

    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}: expected at least 2, or None for the splits of the source")
        if not self.source.train_and_val_are_alike:
            raise ValueError(
                f"folds: {type(self.source).__name__} has other masks or images for training than for validation and test, so that they "
                "cannot be exchanged; keep its own splits (folds=None)"
            )

    def split(self, name: Split) -> SegmentationDataset:
        """Return the samples of one split under the seed."""
        return part_of(self.pool, self._indices(name))

    def groups(self, name: Split) -> Sequence[str] | None:
        """Return the group of each sample of a split; None if the source has no groups."""
        return None if self.pool_groups is None else [self.pool_groups[index] for index in self._indices(name)]

    def for_seed(self, seed: int) -> "CrossValidation":
        """Return the splits of a run. The source is read once for all seeds."""
        own = dataclasses.replace(self, seed=seed)
        vars(own).update(pool=self.pool, pool_groups=self.pool_groups, val_share=self.val_share)
        return own

    def _indices(self, name: Split) -> list[int]:
        return [index for index, split in enumerate(self.assigned) if split == name]

    @cached_property
    def pool(self) -> SegmentationDataset:
        """All samples: those of train, then val, then test of the source."""
        train, val, test = (self.source.split(name) for name in SPLITS)
        pool = joined(joined(train, val), test)
        if isinstance(pool, PairedFiles):
            image, most = Counter(pair.image for pair in pool.pairs).most_common(1)[0] if pool.pairs else ("", 0)
            if most > 1:
                raise ValueError(
                    f"folds: {image} is in {type(self.source).__name__} {most} times, and could be a training and a test image of one run; "
                    "give each image to one split, or keep the splits of the source (folds=None)"
                )
        return pool

    @cached_property
    def pool_groups(self) -> list[str] | None:
        """The group of each sample of the pool; None if the source has no groups."""
        own = {name: self.source.groups(name) for name in SPLITS}
        if all(found is None for found in own.values()):
            return None
        if without := [name for name, found in own.items() if found is None]:
            raise ValueError(
                f"folds: {type(self.source).__name__} names the groups of some splits, and not of {' and '.join(without)}, so that a group "
                "could be cut; name the groups of all splits, or of none"
            )
        return [str(group) for found in own.values() for group in found or ()]

    @cached_property
    def val_share(self) -> float:
        """The share that val has of train and val in the source."""
        train, val = (len(self.source.split(name)) for name in ("train", "val"))
        return val / (train + val)

    @cached_property
    def assigned(self) -> list[Split]:
        """The split of each sample of the pool."""
        count, groups = len(self.pool), self.pool_groups
        names, repetition, fold = [str(index) for index in range(count)], self.seed // self.folds, self.seed % self.folds
        try:
            parts = divide(names, fold_sizes(count, self.folds), repetition, groups)
            rest = [index for index in range(count) if parts[index] != fold]
            sizes = rounded_sizes(len(rest), [self.val_share])
            own = divide([names[index] for index in rest], sizes, self.seed, None if groups is None else [groups[index] for index in rest])
        except ValueError as error:
            raise ValueError(f"folds {self.folds} of {type(self.source).__name__}, test, train and val: {error}") from None
        found: list[Split] = ["test"] * count
        for index, part in zip(rest, own, strict=True):
            found[index] = ("train", "val")[part]
        return found


def check_seeds(folds: int, seeds: Sequence[int]) -> None:
    """Raise a ValueError unless each fold is the test fold of equally many seeds, and each repetition is whole."""
    counts = Counter(seed % folds for seed in seeds)
    whole = all(number == folds for number in Counter(seed // folds for seed in seeds).values())
    if len(counts) < folds or not whole:
        raise ValueError(
            f"folds {folds} with the seeds {', '.join(map(str, seeds))}: each fold of a division has to be tested once; give the seeds 0 to "
            f"{folds - 1}, or to {2 * folds - 1} for two repetitions, as by --seeds {2 * folds}"
        )
