"""Data: a source describes a data set, and loading makes batches of it. Order and augmentation are functions of (seed, epoch, index)."""

from seglab.data.augmentation.augment import default_augmentation
from seglab.data.augmentation.file import AugmentationFile
from seglab.data.augmentation.presets import LightAugmentation, StrongAugmentation
from seglab.data.balance import class_pixels, effective_number, inverse_frequency, median_frequency
from seglab.data.loading.datamodule import SegmentationDataModule
from seglab.data.sources.camvid import CamVid
from seglab.data.sources.dataset import SPLITS, OnDisk, OnDiskInParts, SegmentationDataset, Split, default_palette
from seglab.data.sources.files import Pair, PairedFiles
from seglab.data.sources.folder import ImageMaskFolder
from seglab.data.sources.shapes import Shapes
from seglab.data.sources.source import SegmentationSource

__all__ = [
    "SPLITS",
    "AugmentationFile",
    "CamVid",
    "ImageMaskFolder",
    "LightAugmentation",
    "OnDisk",
    "OnDiskInParts",
    "Pair",
    "PairedFiles",
    "SegmentationDataModule",
    "SegmentationDataset",
    "SegmentationSource",
    "Shapes",
    "Split",
    "StrongAugmentation",
    "class_pixels",
    "default_augmentation",
    "default_palette",
    "effective_number",
    "inverse_frequency",
    "median_frequency",
]
