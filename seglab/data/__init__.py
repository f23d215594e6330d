"""Data: a source describes a data set, and loading makes batches of it.

Order and augmentation are functions of (seed, epoch, index).
"""

from seglab.data.augmentation.augment import default_augmentation
from seglab.data.augmentation.file import AugmentationFile
from seglab.data.augmentation.presets import LightAugmentation, StrongAugmentation
from seglab.data.balance import class_pixels, effective_number, inverse_frequency, median_frequency
from seglab.data.loading.datamodule import SegmentationDataModule
from seglab.data.sources.ade20k import ADE20K
from seglab.data.sources.camvid import CamVid
from seglab.data.sources.cityscapes import Cityscapes
from seglab.data.sources.coco import COCO
from seglab.data.sources.dataset import SPLITS, OnDisk, OnDiskInParts, SegmentationDataset, Split, default_palette
from seglab.data.sources.files import Pair, PairedFiles
from seglab.data.sources.folder import ImageMaskFolder
from seglab.data.sources.folds import Folds
from seglab.data.sources.hugging_face import HuggingFace
from seglab.data.sources.pets import OxfordPets
from seglab.data.sources.shapes import Shapes
from seglab.data.sources.source import SegmentationSource
from seglab.data.sources.split_rules import KFold, Pool, RandomSplit, SplitRule
from seglab.data.sources.torch_dataset import TorchDataset
from seglab.data.sources.voc import VOC

__all__ = [
    "ADE20K",
    "COCO",
    "SPLITS",
    "VOC",
    "AugmentationFile",
    "CamVid",
    "Cityscapes",
    "Folds",
    "HuggingFace",
    "ImageMaskFolder",
    "KFold",
    "LightAugmentation",
    "OnDisk",
    "OnDiskInParts",
    "OxfordPets",
    "Pair",
    "PairedFiles",
    "Pool",
    "RandomSplit",
    "SegmentationDataModule",
    "SegmentationDataset",
    "SegmentationSource",
    "Shapes",
    "Split",
    "SplitRule",
    "StrongAugmentation",
    "TorchDataset",
    "class_pixels",
    "default_augmentation",
    "default_palette",
    "effective_number",
    "inverse_frequency",
    "median_frequency",
]
