"""The data of an experiment as an immutable configuration; seed, epoch and rank reach it per run."""

import copy
import hashlib
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from seglab.data.augmentation.augment import default_augmentation
from seglab.data.balance import Counts, class_pixels, image_probabilities
from seglab.data.check import Format, check_dataset
from seglab.data.loading.crop import Cropped
from seglab.data.loading.loader import TrainLoader, collate, ignore_signals
from seglab.data.loading.part import part_of, spread
from seglab.data.loading.pipeline import Augmented, Cached, Resized, Samples, available_cpus
from seglab.data.loading.sampler import EpochSampler, split_batch
from seglab.data.sources.dataset import SPLITS, OnDisk, SegmentationDataset, Split, default_palette
from seglab.sample import IGNORE, Batch

if TYPE_CHECKING:
    import albumentations as A

NOT_IN_THE_SAMPLES = frozenset({"root", "num_workers", "cache"})
ONLY_WHERE_USED = {"train_fraction": 1.0, "balanced_images": 0.0, "crop": None, "balanced_crops": 0.0}


class SegmentationDataModule(LightningDataModule, ABC):
    """A data set with three splits, and how its samples become batches.

    A subclass keeps each argument of its `__init__` as the attribute of the same name, sets `class_names`, and writes `dataset`:

        class Cells(SegmentationDataModule):
            def __init__(self, root: str, batch_size: int = 8, train_fraction: float = 1.0) -> None:
                super().__init__(batch_size=batch_size, train_fraction=train_fraction)
                self.root, self.class_names = root, ("background", "cell")

            def dataset(self, split: Split) -> SegmentationDataset:
                return CellImages(Path(self.root) / split)

    Use it under `Trainer(use_distributed_sampler=False)`: the loaders split over ranks themselves.

    Args:
        batch_size: of all ranks together, at a training step; evaluation uses the same.
        size: rows and columns to which images are resized, None to keep theirs. Masks follow in training only: evaluation
            scores at the masks' original size.
        augment: whether training samples pass through `augmentation()`.
        num_workers: processes per loader that prepare batches; None for what suits this machine. It changes no sample.
        cache: keep the resized images in memory, shared by all copies that `with_seed` makes.
        train_fraction: the part of the training samples that is used, the same for every seed, see `chosen`. Validation and test
            stay whole.
        balanced_images: how much of the order of training is drawn, with replacement, to favour images of rare classes: s of
            `image_probabilities`. At 0 it is a permutation, and no mask is read to know it.
        crop: rows and columns of the crops to train on, cut after resizing and augmenting, or padded where the image is smaller; None
            for whole images. Evaluation is of whole images.
        balanced_crops: the part of the crops that is placed around a pixel of a class drawn from those of the image, so that the pixel
            is anywhere in it; the others lie anywhere.

    Raises:
        ValueError: a size or number that cannot be.
    """

    class_names: tuple[str, ...]
    """The C names, in the order of the labels; a subclass sets it."""

    def __init__(
        self,
        *,
        batch_size: int = 8,
        size: tuple[int, int] | None = None,
        augment: bool = True,
        num_workers: int | None = None,
        cache: bool = False,
        train_fraction: float = 1.0,
        balanced_images: float = 0.0,
        crop: tuple[int, int] | None = None,
        balanced_crops: float = 0.0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: a batch needs at least one sample")
        if size is not None and min(size) < 1:
            raise ValueError(f"size is {list(size)}: expected rows and columns of at least 1, or None to keep the images' own")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers is {num_workers}: expected 0 (the main process loads) or more, or None to choose by the machine")
        if not 0 < train_fraction <= 1:
            raise ValueError(f"train_fraction is {train_fraction}: expected more than 0 and at most 1, which is all training samples")
        for name, part in (("balanced_images", balanced_images), ("balanced_crops", balanced_crops)):
            if not 0 <= part <= 1:
                raise ValueError(f"{name} is {part}: expected 0, which balances nothing, to 1")
        if crop is not None and (len(crop) != 2 or min(crop) < 1):
            raise ValueError(f"crop is {list(crop)}: expected rows and columns of at least 1, or None to train on whole images")
        if balanced_crops > 0 and crop is None:
            raise ValueError(f"balanced_crops is {balanced_crops}, but there are no crops: give crop their rows and columns as well")
        self.batch_size, self.size, self.augment = batch_size, size, augment
        self.num_workers, self.cache, self.train_fraction = num_workers, cache, float(train_fraction)
        self.balanced_images, self.crop, self.balanced_crops = float(balanced_images), crop, float(balanced_crops)
        self.seed = 0
        self._cached: dict[Split, Cached] = {}
        self._counted: dict[Split, Counts] = {}

    @property
    def num_classes(self) -> int:
        """C, the number of classes without void."""
        return len(self.class_names)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(C,3) colours to draw the classes in."""
        return default_palette(self.num_classes)

    @abstractmethod
    def dataset(self, split: Split) -> SegmentationDataset:
        """The samples of one split, all of them, at their original size."""

    def chosen(self, dataset: SegmentationDataset) -> Sequence[int]:
        """Which samples of the training split `train_fraction` keeps; override it for data whose order means something else.

        They are evenly spread over the data set's order, follow from its length alone, and nest where `spread` says.
        """
        return spread(len(dataset), self.train_fraction)

    def used(self, split: Split) -> SegmentationDataset:
        """The samples of one split that are read: `dataset(split)`, of the training split the part that is `chosen`.

        Raises:
            ValueError: `train_fraction` leaves fewer samples than a batch has.
        """
        dataset = self.dataset(split)
        if split != "train" or self.train_fraction == 1:
            return dataset
        indices = self.chosen(dataset)
        if len(indices) < self.batch_size:
            raise ValueError(
                f"train_fraction is {self.train_fraction}: it leaves {len(indices)} of {len(dataset)} training samples; expected at "
                f"least a batch, which is {self.batch_size}: raise train_fraction, or lower batch_size"
            )
        return part_of(dataset, indices)

    def augmentation(self) -> "A.Compose":
        """The albumentations pipeline of training samples; override it for another. Padded parts of masks become `IGNORE`."""
        return default_augmentation()

    def class_pixels(self) -> Counts:
        """(N,C) int64: the pixels of each class in each training sample that is used, at its original size; read-only.

        `seglab.data.balance` makes class weights of them. They are counted once for all copies that `with_seed` makes.

        Raises:
            ValueError: a label outside the classes; its file is named.
        """
        if "train" not in self._counted:
            self._counted["train"] = class_pixels(self.used("train"))
            self._counted["train"].flags.writeable = False
        return self._counted["train"]

    def with_seed(self, seed: int) -> Self:
        """A copy for one run, whose order, augmentations and crops follow from `seed`; it shares what is cached and counted."""
        if seed < 0:
            raise ValueError(f"seed is {seed}: expected 0 or more")
        one_run = copy.copy(self)
        one_run.seed, one_run.trainer = seed, None
        return one_run

    def train_dataloader(self) -> TrainLoader:
        """Batches in an order that is a function of (seed, epoch), without the last, ragged one, cropped if there is a `crop`."""
        rank, world_size = self._ranks()
        if self.trainer is not None and self.trainer.overfit_batches > 0:  # type: ignore[attr-defined]
            raise ValueError("overfit_batches replaces the order by its own: use limit_train_batches, or less training data")
        samples = self._samples("train")
        probabilities = self._image_probabilities if self.balanced_images > 0 else None
        sampler = EpochSampler(len(samples), self.batch_size, self.seed, rank, world_size, probabilities)
        augmented = Augmented(samples, self.augmentation() if self.augment else None, self.seed)
        cropped = augmented if self.crop is None else Cropped(augmented, self.crop, self.balanced_crops, self.seed)
        workers = self._workers()
        return TrainLoader(
            cropped,  # type: ignore[arg-type]
            batch_size=sampler.batch_size_per_rank,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=ignore_signals,
            collate_fn=collate if self.crop is None else partial(collate, at_least=self.crop),
            pin_memory=self._on_cuda(),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation sample once, in order, masks at their original size."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Every test sample once, in order, masks at their original size."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test samples."""
        return self._evaluation_loader("test")

    def train_evaluation_dataloader(self) -> DataLoader[Batch]:
        """As many training samples as there are validation samples, or all, evenly spread, and read as those are: once, in order, whole."""
        train, val = self.used("train"), self.used("val")
        indices = spread(len(train), min(1.0, len(val) / len(train)))
        return self._loader_in_order(Resized(part_of(train, indices), self.size, masks=False))

    def identity(self) -> dict[str, Any]:
        """Plain data that determine the samples: class, arguments, augmentation and a fingerprint of each split.

        Equal for the same files in two folders, on any number of workers. What is in `ONLY_WHERE_USED` is an argument only where it is
        not as there, so that data which do not know it, and what was recorded before there was such an argument, stay as they are.

        Raises:
            ValueError: an argument of `__init__` was not kept as an attribute.
        """
        return {
            "class": f"{self._own_class().__module__}.{self._own_class().__qualname__}",
            "arguments": {name: _plain(self._argument(name)) for name in self._argument_names()},
            "augmentation": _plain(self.augmentation()) if self.augment else None,
            "splits": {split: _fingerprint(self.used(split)) for split in SPLITS},
        }

    def fill_cache(self) -> None:
        """Load what `cache` keeps, and count what `balanced_images` needs, now, so that no run pays for it in its time."""
        for split in SPLITS:
            self._samples(split)
        if self.balanced_images > 0:
            self.class_pixels()

    def check(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Reads every sample that is used once: images readable and of one format, masks of their size, labels among the classes.

        Args:
            progress: called with (how many were read, how many there are).

        Raises:
            ValueError: the first bad sample: its file, what is wrong and what to do.
        """
        if len(set(self.class_names)) != self.num_classes:
            raise ValueError(
                f"class_names {list(self.class_names)}: expected names that are all different, as scores are told apart by them"
            )
        if not 1 <= self.num_classes <= IGNORE:
            raise ValueError(f"{self.num_classes} class names: expected 1 to {IGNORE}, as labels are uint8 and {IGNORE} is ignored")
        datasets = [self.used(split) for split in SPLITS]
        counter = _Counter(sum(len(dataset) for dataset in datasets), progress)
        expected: Format | None = None
        for dataset in datasets:
            if dataset.num_classes != self.num_classes:
                raise ValueError(
                    f"{type(self).__name__} names {self.num_classes} classes, its data set {dataset.num_classes}: make them agree"
                )
            expected = check_dataset(dataset, expected, counter.count)

    def _evaluation_loader(self, split: Split) -> DataLoader[Batch]:
        return self._loader_in_order(self._samples(split))

    def _loader_in_order(self, samples: Samples) -> DataLoader[Batch]:
        """Rank r takes samples r, r + world size, …: all of them, none twice."""
        rank, world_size = self._ranks()
        workers = self._workers()
        return DataLoader(
            samples,  # type: ignore[arg-type]
            batch_size=split_batch(self.batch_size, world_size),
            sampler=range(rank, len(samples), world_size),
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=ignore_signals,
            collate_fn=collate,
            pin_memory=self._on_cuda(),
        )

    def _samples(self, split: Split) -> Samples:
        """The split, resized, from memory where it is cached."""
        if split in self._cached:
            return self._cached[split]
        samples: Samples = Resized(self.used(split), self.size, masks=split == "train")
        if self.cache:
            samples = self._cached[split] = Cached(samples)
        return samples

    def _image_probabilities(self) -> npt.NDArray[np.float64]:
        """(N,) of the training samples that are used."""
        return image_probabilities(self.class_pixels(), self.balanced_images)

    def _ranks(self) -> tuple[int, int]:
        """(rank, world size) of the trainer; (0, 1) without one."""
        if self.trainer is None or self.trainer.world_size == 1:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _workers(self) -> int:
        """Two processors a rank are left to the training itself; below four there is nothing to give away."""
        if self.num_workers is not None:
            return self.num_workers
        ranks = 1 if self.trainer is None else max(1, self.trainer.num_devices)
        return min(8, max(0, available_cpus() // ranks - 2)) if available_cpus() // ranks >= 4 else 0

    def _on_cuda(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _argument_names(self) -> Iterable[str]:
        names = [name for name in inspect.signature(self._own_class()).parameters if name not in ONLY_WHERE_USED]
        names += [name for name, unused in ONLY_WHERE_USED.items() if getattr(self, name) != unused]
        return [name for name in names if name not in NOT_IN_THE_SAMPLES and not isinstance(getattr(self, name, None), Path)]

    def _own_class(self) -> type:
        """The class as somebody wrote it: `lazy_instance`, the default of an experiment, is a subclass made on the fly."""
        bases = (base for base in type(self).__mro__ if issubclass(base, SegmentationDataModule))
        return next(base for base in bases if not base.__name__.startswith("LazyInstance_"))

    def _argument(self, name: str) -> Any:
        if not hasattr(self, name):
            raise ValueError(
                f"{type(self).__name__} takes {name!r} but keeps no attribute of that name: write self.{name} = {name} in its __init__"
            )
        return getattr(self, name)


class _Counter:
    """Counts samples and tells `progress`."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def count(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _fingerprint(dataset: SegmentationDataset) -> dict[str, Any]:
    if isinstance(dataset, OnDisk):
        return {"samples": len(dataset), "files": dataset.fingerprint()}
    digest = hashlib.sha256()
    for index in sorted({0, len(dataset) // 2, len(dataset) - 1} if len(dataset) else ()):
        image, mask, name = dataset[index]
        digest.update(name.encode() + image.numpy().tobytes() + mask.numpy().tobytes())
    return {"samples": len(dataset), "three of them": digest.hexdigest()[:16]}


def _plain(value: Any) -> Any:
    """The value as JSON knows it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
