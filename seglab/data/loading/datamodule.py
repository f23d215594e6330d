"""`SegmentationDataModule`: make batches of the samples of a source.

Each run sets the seed; Lightning sets epoch and rank.
"""

import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from seglab.data.arrays import as_array
from seglab.data.augmentation.augment import default_augmentation
from seglab.data.augmentation.file import AugmentationFile
from seglab.data.augmentation.pipeline import Augmentation, check_augmentation, pipeline_of
from seglab.data.augmentation.rehearsal import rehearse
from seglab.data.balance import Counts, class_pixels, image_probabilities
from seglab.data.check import CheckedData, check_class_names, check_dataset
from seglab.data.contents import Contents, Format, check_labels
from seglab.data.loading.cache import cached
from seglab.data.loading.crop import Cropped
from seglab.data.loading.fingerprints import distinct_fingerprints, fingerprint, split_of
from seglab.data.loading.loader import TrainLoader, collate, prepare_worker
from seglab.data.loading.part import part_of
from seglab.data.loading.pipeline import Augmented, Resized, Samples
from seglab.data.loading.sampler import EpochSampler, split_batch
from seglab.data.loading.sizes import size_note
from seglab.data.shifts.shift import Shift, Shifted
from seglab.data.sources.cross_validation import CrossValidation
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split, check_split
from seglab.data.sources.source import SegmentationSource
from seglab.data.sources.spread import spread
from seglab.processors import available_cpus
from seglab.sample import IGNORE, Batch
from seglab.windows import Windows

REHEARSED = 3
"""Number of training samples on which the augmentation is tried before a training."""


@final
class SegmentationDataModule(LightningDataModule):
    """Loads batches of the samples of a source.

        data = SegmentationDataModule(CamVid(root), batch_size=16, size=(96, 128))

    Use it under `Trainer(use_distributed_sampler=False)`: the loaders split over ranks themselves.

    Args:
        source: the data set.
        batch_size: samples in a batch of all ranks together, in training and evaluation.
        size: rows and columns to which images are resized; None takes the size that the source suggests, or else the
            images' own. Evaluation scores at the size of the masks.
        augmentation: makes the pipeline of training samples (see docs/howto/augmentation.md): on a command line
            default, light, strong, none, a YAML file of albumentations, or the import path of a function.
        num_workers: processes per loader that prepare batches; None asks the machine. It changes no sample.
        cache: keep the resized images, in a file or in memory (see docs/howto/augmentation.md); None lets the source
            decide. It changes no sample.
        train_fraction: part of the training samples that is used, the same for every seed, usually spread evenly over
            their order. Validation and test use all samples.
        balanced_images: fraction of the training samples that are drawn, with replacement, to favour images of rare
            classes. 0 shows every image once an epoch; 1 draws a class, one of its pixels, and the pixel's image;
            values between mix the two.
        crop: rows and columns of the crops to train on, cut after resizing and augmenting, and padded if the image is
            smaller; None trains on whole images.
        balanced_crops: fraction of the crops that contain a pixel of a class drawn uniformly from the classes of the
            image; the other crops lie anywhere.
        window: rows and columns of the overlapping windows by which larger images are evaluated, see `seglab.windows`;
            None evaluates whole images. Training is not affected.
        overlap: smallest part of a window's rows, and of its columns, that the next window shares.
        folds: number of folds of a cross-validation over the seeds of a study (see docs/howto/splits.md); None keeps
            the splits of the source.

    Raises:
        ValueError: an argument is out of its range, or the source is no dataclass with class names.
    """

    def __init__(
        self,
        source: SegmentationSource,
        *,
        batch_size: int = 8,
        size: tuple[int, int] | None = None,
        augmentation: Augmentation | None = default_augmentation,
        num_workers: int | None = None,
        cache: bool | None = None,
        train_fraction: float = 1.0,
        balanced_images: float = 0.0,
        crop: tuple[int, int] | None = None,
        balanced_crops: float = 0.0,
        window: tuple[int, int] | None = None,
        overlap: float = 0.5,
        folds: int | None = None,
    ) -> None:
        super().__init__()
        _check_source(source)
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: a batch needs at least one sample")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"size is {list(size)}: expected rows and columns of at least 1, or None for the size that suits the source")
        check_augmentation(augmentation)
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
        self.declared_source, self.folds = source, folds
        self.source = source if folds is None else CrossValidation(source, folds)
        self.batch_size, self.size, self.augmentation = batch_size, size, augmentation
        self.num_workers, self.cache, self.train_fraction = num_workers, cache, float(train_fraction)
        self.balanced_images, self.crop, self.balanced_crops = float(balanced_images), crop, float(balanced_crops)
        self.window, self.overlap = window, float(overlap)
        self.windows = None if window is None else Windows(window, float(overlap))
        self.seed = 0
        self.is_of_run = False
        self._cached: dict[Split, Samples] = {}
        self._counted: dict[Split, Counts] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes, in the order of the labels."""
        return self.source.class_names

    @property
    def num_classes(self) -> int:
        """C, the number of classes without void."""
        return len(self.class_names)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(C,3) colours in which the classes are drawn."""
        return self.source.palette

    @property
    def resized_to(self) -> tuple[int, int] | None:
        """Rows and columns of all images: `size`, or the size that the source suggests; None if images keep theirs."""
        return self.source.suggested_size if self.size is None else self.size

    @property
    def caches(self) -> bool:
        """Return whether the resized images are kept: `cache`, or the source's `worth_caching` if `cache` is None."""
        return self.source.worth_caching if self.cache is None else self.cache

    def used(self, split: Split) -> SegmentationDataset:
        """Return the samples of a split that are used: all, or the training samples that `source.chosen` selects.

        Raises:
            ValueError: the source returns no data set, or `train_fraction` leaves fewer samples than a batch has.
        """
        dataset = self.source.split(split)
        check_split(dataset, f"{type(self.source).__name__}.split({split!r})")
        if split != "train" or self.train_fraction == 1:
            return dataset
        indices = self.source.chosen(dataset, self.train_fraction)
        if len(indices) < self.batch_size:
            raise ValueError(
                f"train_fraction is {self.train_fraction}: it leaves {len(indices)} of {len(dataset)} training samples; expected at "
                f"least a batch, which is {self.batch_size}: raise train_fraction, or lower batch_size"
            )
        return part_of(dataset, indices)

    def groups(self, split: Split) -> list[str] | None:
        """Return the group of each sample of a split, such as its patient, in the order of the source.

        Return None if the source names no groups.

        Raises:
            ValueError: the source does not return one group for each sample.
        """
        named = self.source.groups(split)
        if named is None:
            return None
        found, samples = list(map(str, named)), len(self.source.split(split))
        if len(found) != samples:
            raise ValueError(
                f"{type(self.source).__name__}.groups({split!r}) returned {len(found)} groups for {samples} samples: return one for each, "
                "in the order of the samples"
            )
        return found

    def class_pixels(self) -> Counts:
        """Count the pixels of each class in each used training sample, at its original size: (N,C) int64, read-only.

        `seglab.data.balance` makes class weights of the counts. All copies that `with_seed` makes share them.

        Raises:
            ValueError: a label outside the classes; its file is named. Or there are `folds`, and this is not the data
                of a run.
        """
        if self.folds is not None and not self.is_of_run:
            raise ValueError(
                f"class_pixels: with folds {self.folds} each seed trains on other images, and the training images of one seed are test images "
                "of another; leave out what is computed from the masks of all runs at once, such as class weights, or fix its numbers"
            )
        if "train" not in self._counted:
            self._counted["train"] = class_pixels(self.used("train"))
            self._counted["train"].flags.writeable = False
        return self._counted["train"]

    def with_seed(self, seed: int) -> Self:
        """Return a copy for one run, whose order, augmentations and crops follow from `seed`.

        Cache and counts are shared, unless the source depends on the seed.
        """
        if seed < 0:
            raise ValueError(f"seed is {seed}: expected 0 or more")
        source, one_run = self.source.for_seed(seed), copy.copy(self)
        if source is not self.source:
            vars(one_run).update(source=source, _cached={}, _counted={})
        one_run.seed, one_run.trainer, one_run.is_of_run = seed, None, True
        return one_run

    def with_source(self, source: SegmentationSource) -> Self:
        """Return a copy that loads the samples of another source, without the cache and the counts of this one."""
        _check_source(source)
        other = copy.copy(self)
        vars(other).update(declared_source=source, source=source if self.folds is None else CrossValidation(source, self.folds))
        vars(other).update(_cached={}, _counted={})
        return other

    def sizes(self, seed: int) -> dict[Split, int]:
        """Return the number of samples of each split that a run under `seed` uses."""
        run = self.with_seed(seed)
        return {split: len(run.used(split)) for split in SPLITS}

    def train_dataloader(self) -> TrainLoader:
        """Return the training batches, in an order that is a function of (seed, epoch).

        A smaller last batch is left out.
        """
        rank, world_size = self._ranks()
        if self.trainer is not None and self.trainer.overfit_batches > 0:  # type: ignore[attr-defined]
            raise ValueError("overfit_batches replaces the order by its own: use limit_train_batches, or less training data")
        samples = self._samples("train")
        probabilities = self._image_probabilities if self.balanced_images > 0 else None
        sampler = EpochSampler(len(samples), self.batch_size, self.seed, rank, world_size, probabilities)
        augmented = Augmented(samples, None if self.augmentation is None else pipeline_of(self.augmentation), self.seed)
        cropped = augmented if self.crop is None else Cropped(augmented, self.crop, self.balanced_crops, self.seed)
        workers = self._workers()
        return TrainLoader(
            cropped,  # type: ignore[arg-type]
            batch_size=sampler.batch_size_per_rank,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=prepare_worker,
            collate_fn=collate if self.crop is None else partial(collate, at_least=self.crop),
            pin_memory=self._on_cuda(),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return every validation sample once, in order, with its mask at the original size."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return every test sample once, in order, with its mask at the original size."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return every test sample once, in order."""
        return self._evaluation_loader("test")

    def train_evaluation_dataloader(self) -> DataLoader[Batch]:
        """Return training samples for evaluation: each sample once, in order, without crop and augmentation.

        There are as many training samples as validation samples, spread evenly; all training samples if there are
        fewer.
        """
        train, val = self.used("train"), self.used("val")
        indices = spread(len(train), min(1.0, len(val) / len(train)))
        return self._loader_in_order(Resized(part_of(train, indices), self.resized_to, masks=False))

    def shift_dataloader(self, shift: Shift) -> DataLoader[Batch]:
        """Return every sample of a shifted test set once, in order, with its mask at the original size."""
        return self._loader_in_order(self.shifted(shift))

    def shifted(self, shift: Shift) -> Samples:
        """Return the samples of a shifted test set. Images have the size that the network sees, and masks their own.

        Raises:
            ValueError: the other domain of the shift has no test split.
        """
        other = shift.domain()
        clean = self._samples("test") if other is None else Resized(split_of(other, "test"), self.resized_to, masks=False)
        return Shifted(clean, shift)

    def shift_identity(self, shift: Shift) -> dict[str, Any]:
        """Return everything that determines a shifted test set, except the data of the study.

        The result holds the shift, and a fingerprint of its domain if it has one.
        """
        other = shift.domain()
        return {"shift": shift, **({} if other is None else {"test": fingerprint(split_of(other, "test"))})}

    def identity(self) -> dict[str, Any]:
        """Return everything that determines the samples: source, arguments, and a fingerprint of each split.

        Arguments that change no sample are left out.

        The source and the augmentation are returned as objects, which the study converts to plain data. `num_workers`
        and `cache` are left out, because they change no sample. With `folds`, the fingerprints are those of the
        source's own splits, and `folds` holds the mean number of samples of each split over the folds of the first
        repetition.
        """
        return {
            "source": self.source if self.folds is None else self.declared_source,
            "batch_size": self.batch_size,
            "size": self.resized_to,
            "augmentation": self.augmentation.content if isinstance(self.augmentation, AugmentationFile) else self.augmentation,
            "train_fraction": self.train_fraction,
            "balanced_images": self.balanced_images,
            "crop": self.crop,
            "balanced_crops": self.balanced_crops,
            **({} if self.windows is None else {"window": self.windows.size, "overlap": self.windows.overlap}),
            **({} if (sizes := self.mean_sizes()) is None else {"folds": sizes}),
            "splits": {split: fingerprint(self.used(split)) for split in SPLITS}
            if self.folds is None
            else distinct_fingerprints(self.declared_source),
        }

    def mean_sizes(self) -> dict[str, Any] | None:
        """Return the number of `folds`, and the mean number of samples of each split; None without `folds`.

        The mean is over the folds of the first repetition.
        """
        if self.folds is None:
            return None
        sizes = [self.sizes(seed) for seed in range(self.folds)]
        return {"folds": self.folds, **{split: sum(own[split] for own in sizes) / self.folds for split in SPLITS}}

    def fill_cache(self) -> None:
        """Fill the cache and count the pixels for `balanced_images`. Called before the time of a run is measured."""
        for split in SPLITS:
            self._samples(split)
        if self.balanced_images > 0:
            self.class_pixels()

    def check(self, progress: Callable[[int, int], None] | None = None) -> CheckedData:
        """Check all used samples: images are readable and of one format, masks have their sizes, labels are classes.

        Then check all labels together: each split has labelled pixels, and the training split has more than one class.
        Files that have been checked before and have not changed are not read again, see `seglab.data.remembered`. Last,
        the augmentation is tried on a few training samples, and has to keep their kind.

        Args:
            progress: called with (samples checked, samples in all).

        Returns:
            The common format of the images, a sentence on their sizes, and notes on classes that some split lacks.

        Raises:
            ValueError: a sample is bad, the labels cannot train or test a network, or a step of the augmentation makes
                another kind of sample; the file or the step is named.
        """
        if not 1 <= self.num_classes <= IGNORE:
            raise ValueError(f"{self.num_classes} class names: expected 1 to {IGNORE}, as labels are uint8 and {IGNORE} is ignored")
        whole = self.folds is not None and not self.is_of_run  # all samples, in the splits of the source: each of them needs masks
        datasets = [split_of(self.declared_source, split) if whole else self.used(split) for split in SPLITS]
        counter = _Counter(sum(len(dataset) for dataset in datasets), progress)
        contents: dict[Split, Contents] = {}
        expected: Format | None = None
        for split, dataset in zip(SPLITS, datasets, strict=True):
            if dataset.num_classes != self.num_classes:
                raise ValueError(
                    f"{type(self.source).__name__} names {self.num_classes} classes, its data set {dataset.num_classes}: make them agree"
                )
            contents[split] = check_dataset(dataset, expected, counter.count)
            expected = contents[split].images or expected
        sizes = set[tuple[int, int]]().union(*(found.sizes for found in contents.values()))
        for split in SPLITS:
            self.groups(split)  # raises if there is not one for each sample
        notes = check_labels(contents, self.class_names)
        if whole:
            notes = ()  # no run has these splits, see `lacking_classes`
        self._rehearse_augmentation()
        return CheckedData(expected, size_note(sizes, self.resized_to, self.crop), notes)

    def _rehearse_augmentation(self) -> None:
        """Try every step of the augmentation on a few training samples, and check the contract."""
        if self.augmentation is None:
            return
        pipeline = pipeline_of(self.augmentation)
        samples = Resized(self.used("train"), self.resized_to, masks=True)
        for index in spread(len(samples), min(1.0, REHEARSED / len(samples))):
            image, mask, name = samples[index]
            rehearse(pipeline, as_array(image), mask.numpy(), name)

    def _evaluation_loader(self, split: Split) -> DataLoader[Batch]:
        return self._loader_in_order(self._samples(split))

    def _loader_in_order(self, samples: Samples) -> DataLoader[Batch]:
        """Return a loader in which rank r reads samples r, r + world size, …: each sample is read once."""
        rank, world_size = self._ranks()
        workers = self._workers()
        return DataLoader(
            samples,  # type: ignore[arg-type]
            batch_size=split_batch(self.batch_size, world_size),
            sampler=range(rank, len(samples), world_size),
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=prepare_worker,
            collate_fn=collate,
            pin_memory=self._on_cuda(),
        )

    def _samples(self, split: Split) -> Samples:
        """Return the resized samples of a split, from the cache if there is one."""
        if split in self._cached:
            return self._cached[split]
        dataset = self.used(split)
        resized = Resized(dataset, self.resized_to, masks=split == "train")
        if not self.caches:
            return resized
        self._cached[split] = cached(dataset, resized)
        return self._cached[split]

    def _image_probabilities(self) -> npt.NDArray[np.float64]:
        """Return the probability (N,) of each training sample that is used."""
        return image_probabilities(self.class_pixels(), self.balanced_images)

    def _ranks(self) -> tuple[int, int]:
        """Return (rank, world size) of the trainer, or (0, 1) without one."""
        if self.trainer is None or self.trainer.world_size == 1:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _workers(self) -> int:
        """Return the number of workers.

        Each rank keeps two processors for training. With fewer than four a rank, return 0.
        """
        if self.num_workers is not None:
            return self.num_workers
        ranks = 1 if self.trainer is None else max(1, self.trainer.num_devices)
        return min(8, max(0, available_cpus() // ranks - 2)) if available_cpus() // ranks >= 4 else 0

    def _on_cuda(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"


class _Counter:
    """Counts samples, and calls `progress`."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def count(self, samples: int) -> None:
        self.done += samples
        if self.progress is not None:
            self.progress(self.done, self.total)


def _check_source(source: SegmentationSource) -> None:
    """Refuse a source whose settings could not be recorded, or whose classes have no names."""
    name = type(source).__name__
    if not isinstance(source, SegmentationSource) or not dataclasses.is_dataclass(source):
        raise ValueError(f"source is a {name}: expected a SegmentationSource that is a dataclass, as its fields are its settings")
    if not hasattr(source, "class_names"):
        raise ValueError(f"{name} has no class_names: write the names of its classes in it, in the order of the labels")
    check_class_names(source.class_names)
