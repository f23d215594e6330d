"""Data: from files, or from nothing, to batches. The order and the augmentations are functions of (seed, epoch, index)."""

from seglab.data.augmentation.augment import default_augmentation
from seglab.data.balance import class_pixels, effective_number, inverse_frequency, median_frequency
from seglab.data.loading.datamodule import SegmentationDataModule
from seglab.data.sources.camvid import CamVid
from seglab.data.sources.dataset import SPLITS, OnDisk, OnDiskInParts, SegmentationDataset, Split, default_palette
from seglab.data.sources.files import Pair, PairedFiles
from seglab.data.sources.folder import ImageMaskFolder
from seglab.data.sources.shapes import Shapes

__all__ = [
    "SPLITS",
    "CamVid",
    "ImageMaskFolder",
    "OnDisk",
    "OnDiskInParts",
    "Pair",
    "PairedFiles",
    "SegmentationDataModule",
    "SegmentationDataset",
    "Shapes",
    "Split",
    "class_pixels",
    "default_augmentation",
    "default_palette",
    "effective_number",
    "inverse_frequency",
    "median_frequency",
]
