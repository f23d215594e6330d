"""The data set of an audit, from the splits of a source."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from seglab.data.audit.finding import Audited
from seglab.data.loading.part import PartOnDisk
from seglab.data.sources.dataset import OnDisk, SegmentationDataset
from seglab.data.sources.files import PairedFiles


def audited_source(splits: Mapping[str, SegmentationDataset], class_names: tuple[str, ...]) -> Audited:
    """Return the splits of a source with the files of their images and masks, as far as they are known."""
    images: dict[str, Sequence[Path]] = {}
    masks: dict[str, Sequence[Path]] = {}
    for split, dataset in splits.items():
        whole, indices = (dataset.whole, dataset.indices) if isinstance(dataset, PartOnDisk) else (dataset, range(len(dataset)))
        if isinstance(whole, PairedFiles):
            images[split] = [whole.pairs[index].image for index in indices]
        if isinstance(dataset, OnDisk):
            masks[split] = [dataset.mask_file(index) for index in range(len(dataset))]
    return Audited(dict(splits), class_names, images, masks)
