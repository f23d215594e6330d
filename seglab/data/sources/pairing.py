"""Pair images with masks by patterns, and sort the pairs into the splits that folders or lists name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seglab.data.sources.dataset import SPLITS, Split
from seglab.data.sources.files import Pair
from seglab.data.sources.lists import listed
from seglab.data.sources.patterns import HOW, SPLIT, Pattern, nearest, walk, what_is_there

Pairs = dict[str, Pair]
"""Pairs by the part of the name that image and mask share, sorted."""


@dataclass(frozen=True)
class Layout:
    """Layout of a data set: places of images and masks below `root`, and what names the splits, if anything does.

    Raises:
        ValueError: the patterns do not fit together.
    """

    root: Path
    images: Pattern
    masks: Pattern
    lists: Path | None = None
    """List of the samples of each split, with {split} in its path."""

    def __post_init__(self) -> None:
        if self.images.text == self.masks.text:
            raise ValueError(f"images and masks are both {self.images.text!r}: expected patterns that tell them apart; {HOW}")
        if self.images.wildcards != self.masks.wildcards:
            raise ValueError(
                f"images {self.images.text!r} has {self.images.wildcards} wildcards, masks {self.masks.text!r} {self.masks.wildcards}: "
                f"expected the same number, as what they match pairs the files; {HOW}"
            )
        if self.lists is not None and SPLIT not in str(self.lists):
            raise ValueError(f"lists is {str(self.lists)!r}: expected a path with {SPLIT}, such as 'splits/{SPLIT}.txt'")
        if self.lists is not None and self.names_split:
            raise ValueError(f"lists is given, and images or masks have {SPLIT}: both name the splits; leave one out")

    @property
    def names_split(self) -> bool:
        """True if folders name the splits."""
        return self.images.names_split or self.masks.names_split

    def everything(self) -> Pairs:
        """Return all pairs of a layout whose patterns do not name the splits."""
        return _paired(self, *self._files(None), None)

    def splits(self) -> dict[Split, Pairs]:
        """Return the pairs of each split that a folder or a list names; a split that has neither is left out.

        Raises:
            ValueError: a file has no partner, or is in two splits; a list names a file that is not there, or twice.
        """
        if self.lists is not None:
            images, masks = self._files(None)
            self.check_found(images, masks, None)
            found = listed(self.root / self.lists, (images, masks), self.root)  # an absolute path of lists stays
        else:
            found = self._in_folders()
        _check_apart(found)
        return found

    def _in_folders(self) -> dict[Split, Pairs]:
        """Return the pairs of each split.

        A side whose pattern lacks {split} gives each split the partners of the other side.
        """
        found: dict[Split, Pairs] = {}
        used: set[Path] = set()
        files = {split: self._files(split) for split in SPLITS}
        for split, (images, masks) in files.items():
            if (images and self.images.names_split) or (masks and self.masks.names_split):
                common = images.keys() & masks.keys()
                images = images if self.images.names_split else {key: images[key] for key in common}
                masks = masks if self.masks.names_split else {key: masks[key] for key in common}
                found[split] = _paired(self, images, masks, split)
                used |= {file for pair in found[split].values() for file in pair}
        for pattern, side in ((self.images, 0), (self.masks, 1)):
            every = {} if pattern.names_split else files["train"][side]
            for key in sorted(every):
                if every[key] not in used:
                    _refuse_alone(self, key, every[key], pattern, used)
        return found

    def _files(self, split: Split | None) -> tuple[dict[str, Path], dict[str, Path]]:
        """Return images and masks by key.

        A file that both patterns match belongs to the pattern with more literal characters.
        """
        images, masks = self.images.files(self.root, split), self.masks.files(self.root, split)
        if both := {*images.values()} & {*masks.values()}:
            more, fewer = (self.images, self.masks) if self.images.literals > self.masks.literals else (self.masks, self.images)
            if more.literals == fewer.literals:
                raise ValueError(
                    f"{min(both)}: matches images {self.images.text!r} and masks {self.masks.text!r}: correct one so that it tells them apart"
                )
            kept = {key: file for key, file in (images if fewer is self.images else masks).items() if file not in both}
            images, masks = (kept, masks) if fewer is self.images else (images, kept)
        return images, masks

    def check_found(self, images: Mapping[str, Path], masks: Mapping[str, Path], split: Split | None) -> None:
        """Raise a ValueError that says what is there instead if a pattern matches nothing."""
        for pattern, files in ((self.images, images), (self.masks, masks)):
            if not files:
                where = "" if split is None or not pattern.names_split else f" for {SPLIT} = {split}"
                raise ValueError(
                    f"{pattern.field} {pattern.text!r} matches no file{where}; {what_is_there(self.root, pattern.text)}; {HOW}"
                )


def _paired(layout: Layout, images: Mapping[str, Path], masks: Mapping[str, Path], split: Split | None) -> Pairs:
    """Return the images and masks as pairs.

    Raises:
        ValueError: there are none, or a file has no partner.
    """
    layout.check_found(images, masks, split)
    both = images.keys() & masks.keys()
    paired = {files[key] for files in (images, masks) for key in both}
    for files, pattern in ((images, layout.images), (masks, layout.masks)):
        for key in sorted(files.keys() - both):
            _refuse_alone(layout, key, files[key], pattern, paired)
    return {key: Pair(images[key], masks[key]) for key in sorted(images)}


def _refuse_alone(layout: Layout, key: str, file: Path, pattern: Pattern, paired: set[Path]) -> None:
    """Raise a ValueError: a file has no partner.

    The message names the partner's expected path, and a file that may be the partner.
    """
    other = layout.masks if pattern is layout.images else layout.images
    kind, other_kind = ("image", "mask") if pattern is layout.images else ("mask", "image")
    folder = other.folder(layout.root)
    below = folder.relative_to(layout.root).as_posix()
    paths = (path for path in walk(layout.root, below) if layout.root / path not in paired | {file})
    near = nearest(other.example(key), key, paths) if folder.is_dir() else None
    remedy = (
        f"add the {other_kind}, or remove the {kind}" if near is None else f"there is {near}: correct {other.field}, or rename the file"
    )
    raise ValueError(f"{file}: this {kind} has no {other_kind} {other.example(key)} in {layout.root}: {remedy}")


def _check_apart(splits: Mapping[Split, Pairs]) -> None:
    """Raise a ValueError if a file is in two splits."""
    split_of: dict[Path, Split] = {}
    for split, pairs in splits.items():
        for pair in pairs.values():
            for file in pair:
                if file in split_of:
                    raise ValueError(
                        f"{file}: is in the splits {split_of[file]} and {split}: expected splits without a common file, as scores of "
                        "trained samples say nothing; correct the lists, or the folders"
                    )
            split_of |= dict.fromkeys(pair, split)
