"""Guess where the images and masks of a folder lie: patterns of paths, and the splits that folders name."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from seglab.data.audit.look import few_values
from seglab.data.reading.formats import ENDINGS
from seglab.data.sources.dataset import SPLITS, Split
from seglab.data.sources.files import Pair, composed, utf8
from seglab.data.sources.patterns import walk

SPLIT = "{split}"
NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names of folders, in lower case, that stand for a split."""

KINDS = "masks?|labels?|annot|annotations?|gt|seg|segmentations?|targets?|truth|images?|imgs?"
"""Words for the files of a folder, in lower case, that may stand beside the name of a split, as in `train_masks`."""

BESIDE = re.compile(rf"(?:({'|'.join(sorted(NAMES, key=len, reverse=True))})[ _.-]?(?:{KINDS})|(?:{KINDS})[ _.-]?({'|'.join(NAMES)}))")

MASK_WORDS = ("mask", "label", "annot", "gt", "seg", "target", "truth", "_l.")
"""Parts of the path of masks, in lower case."""

OTHER_MASK_WORDS = ("instance", "object", "panoptic", "color", "colour", "vis")
"""Parts of the path of masks, in lower case, that rarely hold classes. Other masks of the set are preferred."""

LEAST_PART = 0.2
"""Part of the files of a folder that share an ending such as `_mask` from which on it tells masks from images."""

ENDS = re.compile(r"[_\-.](?:[A-Za-z][A-Za-z_]*|[A-Za-z]+[0-9]+[A-Za-z]+)$")
"""End of a name without its ending: words, or one word with a number in it."""

LOOKED_AT = 5
"""Number of files of a kind that are read to see whether they can be masks."""


@dataclass(frozen=True)
class FileKind:
    """Files whose paths have one pattern."""

    pattern: str
    """Such as `{split}/labels/*_mask.png`."""
    files: dict[tuple[str, str], Path]
    """The files, by split ("" if no folder names it) and the part of the name that `*` matches."""


@dataclass(frozen=True)
class Found:
    """The layout of a folder."""

    images: str
    """Pattern of the images."""
    masks: str
    pairs: dict[str, list[Pair]]
    """Pairs of each split, sorted by name; of the split "" if no folder names the splits."""
    without_mask: tuple[Path, ...]
    without_image: tuple[Path, ...]
    others: tuple[str, ...] = ()
    """Patterns of other files, which are not looked at."""
    folders: int = 0
    """Number of folders, such as those of patients, that the first `*` of both patterns stands for. 0 if the first `*`
    is a part of names, or stands for folders of one sample each.
    """


def guess(root: Path) -> Found:
    """Return the images and masks of a folder.

    Raises:
        ValueError: no images and masks with common names are found, and the message says what is there; or a folder has
            a name that no pattern can hold.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder: correct the path")
    kinds = kinds_of(root)
    if not kinds:
        raise ValueError(f"{root}: no images in it or below it (endings {', '.join(sorted(ENDINGS))}): correct the path")
    layout = _best(root, kinds)
    images, masks = layout.images, layout.masks
    _check_names(root, (images.pattern, masks.pattern))
    common = images.files.keys() & masks.files.keys()
    pairs: dict[str, list[Pair]] = {}
    for split, name in sorted(common, key=lambda key: (_order(key[0]), key[1])):
        pairs.setdefault(split, []).append(Pair(images.files[split, name], masks.files[split, name]))
    alone = [sorted(kind.files[key] for key in kind.files.keys() - common) for kind in (images, masks)]
    others = tuple(f"{kind.pattern} ({len(kind.files)})" for kind in layout.kinds if kind.pattern not in layout.used)
    folders = len({key[1].partition("/")[0] for key in common if "/" in key[1]}) if "*/" in images.pattern else 0
    return Found(images.pattern, masks.pattern, pairs, tuple(alone[0]), tuple(alone[1]), others, folders)


class Layout(NamedTuple):
    """The kinds of images and masks, among all kinds of files."""

    images: FileKind
    masks: FileKind
    used: set[str]
    """Patterns of the kinds that images and masks consist of."""
    kinds: Sequence[FileKind]
    """All kinds, also those that are left out."""

    @property
    def size(self) -> int:
        """Number of pairs."""
        return len(self.images.files.keys() & self.masks.files.keys())


def _check_names(root: Path, patterns: Sequence[str]) -> None:
    """Refuse names of folders and files that have signs with another meaning in a pattern."""
    folders = [part for pattern in patterns for part in pattern.replace(SPLIT, "").split("/")[:-1] if part != "*"]
    parts = [*folders, *(pattern.rpartition("/")[2].removeprefix("*").removesuffix(".*") for pattern in patterns)]
    wrong = list(dict.fromkeys(part for part in parts if set(part) & set("*?[]{}") or part.startswith("~")))
    if wrong:
        raise ValueError(
            f"{root}: {' and '.join(map(repr, wrong))} cannot be written in a pattern of paths, where * ? [ ] {{ }} ~ have a meaning of "
            "their own: rename these folders or files"
        )


def _widened(images: FileKind, masks: FileKind, kinds: Sequence[FileKind]) -> Layout:
    """Return the kinds of images and masks, joined with those of folders built alike, such as those of other patients.

    A folder that both patterns have becomes `*`, if other folders in its place have images and masks too.
    """
    narrow = Layout(images, masks, {images.pattern, masks.pattern}, kinds)
    parts, mask_parts = images.pattern.split("/"), masks.pattern.split("/")
    for part in [part for part in parts[:-1] if part in mask_parts[:-1] and SPLIT not in part and part != "*"]:
        wide = [_with_folders(kind.pattern, part, kinds) for kind in (images, masks)]
        joined = [FileKind(pattern, files) for pattern, files, _ in wide]
        layout = Layout(joined[0], joined[1], wide[0][2] | wide[1][2], kinds)
        if layout.size > narrow.size:
            return layout
    return narrow


def _with_folders(pattern: str, folder: str, kinds: Sequence[FileKind]) -> tuple[str, dict[tuple[str, str], Path], set[str]]:
    """Return a pattern with `*` in place of a folder, all files that it matches, and the patterns of their kinds."""
    parts = pattern.split("/")
    place = parts.index(folder)
    files: dict[tuple[str, str], Path] = {}
    used = set()
    for kind in kinds:
        others = kind.pattern.split("/")
        if len(others) == len(parts) and [*others[:place], *others[place + 1 :]] == [*parts[:place], *parts[place + 1 :]]:
            files |= {(split, f"{others[place]}/{name}"): file for (split, name), file in kind.files.items()}
            used.add(kind.pattern)
    return "/".join([*parts[:place], "*", *parts[place + 1 :]]), files, used


def kinds_of(root: Path) -> list[FileKind]:
    """Return the kinds of files below a folder.

    Hidden files, and files with endings that are not read, are left out.
    """
    found: dict[str, dict[tuple[str, str], Path]] = {}
    for folder, names in _folders(root):
        split, pattern = _with_split(folder)
        suffixes = _suffixes([PurePosixPath(name).stem for name in names])
        for name in names:
            stem, ending = Path(name).stem, Path(name).suffix
            suffix = next((one for one in suffixes if stem.endswith(one) and stem != one), "")
            key = f"{pattern}*{suffix}{ending}"
            files, place = found.setdefault(key, {}), (split, composed(stem.removesuffix(suffix)))
            if place in files and files[place].parent != root / folder:
                raise ValueError(
                    f"{root}: {files[place].parent.relative_to(root)} and {folder} both mean {split}: expected one folder for each split; "
                    "move the files together"
                )
            files[place] = root / folder / name
    return [FileKind(pattern, files) for pattern, files in _joined(found).items()]


def _folders(root: Path) -> Iterator[tuple[PurePosixPath, list[str]]]:
    """Yield each folder below `root` that has files that are read, with their names."""
    names_of: dict[str, list[str]] = {}
    for path in walk(root):
        folder, _, name = utf8(path, root).rpartition("/")
        if Path(name).suffix.lower() in ENDINGS:
            names_of.setdefault(folder, []).append(name)
    for folder, names in names_of.items():
        yield PurePosixPath(folder), names


def _with_split(folder: PurePosixPath) -> tuple[str, str]:
    """Return the split that a part of a path names, and the path with {split} in its place, with a slash at its end.

    A part is the name of a split, or else holds it beside a word for its files, as `trainannot` does.
    """
    parts = [part for part in folder.parts if part != "."]
    places = [place for place, part in enumerate(parts) if part.lower() in NAMES]
    if places:
        split = NAMES[parts[places[0]].lower()]
        parts[places[0]] = SPLIT
        return split, "".join(f"{part}/" for part in parts)
    for place, part in enumerate(parts):
        if match := BESIDE.fullmatch(part.lower()):
            number = match.lastindex or 0
            parts[place] = f"{part[: match.start(number)]}{SPLIT}{part[match.end(number) :]}"
            return NAMES[match[number]], "".join(f"{part}/" for part in parts)
    return "", "".join(f"{part}/" for part in parts)


def _suffixes(stems: Sequence[str]) -> list[str]:
    """Return the ends of names, such as `_mask`, that many files of a folder share, the longest first."""
    ends = Counter(match.group() for stem in stems if (match := ENDS.search(stem)))
    least = max(LEAST_PART * len(stems), 2 if len(stems) > 3 else 1)
    return sorted((end for end, count in ends.items() if count >= least), key=lambda end: (-len(end), end))


def _joined(found: dict[str, dict[tuple[str, str], Path]]) -> dict[str, dict[tuple[str, str], Path]]:
    """Join kinds that differ in their ending alone and have no name in common, such as .jpg and .jpeg of one folder."""
    groups: dict[str, list[str]] = {}
    for pattern in found:
        groups.setdefault(pattern.rpartition(".")[0], []).append(pattern)
    joined: dict[str, dict[tuple[str, str], Path]] = {}
    for body, patterns in groups.items():
        together: dict[tuple[str, str], Path] = {}
        for pattern in patterns:
            together |= found[pattern]
        if len(patterns) > 1 and len(together) == sum(len(found[pattern]) for pattern in patterns):
            joined[f"{body}.*"] = together
        else:
            joined |= {pattern: found[pattern] for pattern in patterns}
    return joined


def _by_folder(kinds: Sequence[FileKind]) -> list[FileKind]:
    """Return the kinds of files in folders of one sample each, such as `*/image.png`, and the kinds of other files.

    Such folders have the same parent, and they are at least as many as the names of files in them. Return an empty list
    if there are none.
    """
    parents: dict[str, dict[str, dict[tuple[str, str], Path]]] = {}
    for kind in kinds:
        *parts, _ = kind.pattern.split("/")
        for (split, _), file in kind.files.items() if parts and SPLIT not in parts[-1] else ():
            pattern = "/".join([*parts[:-1], "*", composed(file.name)])
            parents.setdefault("/".join(parts[:-1]), {}).setdefault(pattern, {})[split, parts[-1]] = file
    found: dict[str, dict[tuple[str, str], Path]] = {}
    for patterns in parents.values():
        folders = {key for files in patterns.values() for key in files}
        if len(folders) >= max(2, len(patterns)):
            found |= patterns
    taken = {file for files in found.values() for file in files.values()}
    others = [kind for kind in kinds if taken.isdisjoint(kind.files.values())]
    return [*(FileKind(pattern, files) for pattern, files in _joined(found).items()), *others] if found else []


def _best(root: Path, kinds: Sequence[FileKind]) -> Layout:
    """Return the kind of the images and that of the masks: the pair with the most names in common.

    Of several, a kind with a word for masks in its path, and with few values in its files, is that of the masks. Names
    of folders are common names too, if each folder has the files of one sample, and more pairs are found so.
    """
    best, by_folder = _highest(_rated(kinds)), _by_folder(kinds)
    layout = None if best is None else _widened(best.images, best.masks, kinds)
    other = _highest(_rated(by_folder))
    if other is not None and other.rating > 0:
        of_samples = _widened(other.images, other.masks, by_folder)
        if best is None or layout is None or best.rating <= 0 or of_samples.size > layout.size:
            return of_samples
    if best is None or layout is None:
        there = ", ".join(f"{kind.pattern} ({len(kind.files)})" for kind in sorted(kinds, key=lambda kind: -len(kind.files))[:4])
        if len(kinds) == 1:
            raise ValueError(f"{root}: only files of one kind are in it, {there}; expected images, and a mask of the same name for each")
        raise ValueError(
            f"{root}: no images and masks with common names; there are {there}: a mask has the name of its image, perhaps with an end such "
            "as _mask; rename the files, or name the patterns of both by --data.source ImageMaskFolder"
        )
    if best.rating <= 0 and not best.few:
        raise ValueError(
            f"{root}: {best.images.pattern} and {best.masks.pattern} have common names, but the files of both look like photographs: no "
            "masks are found; name the patterns of both by --data.source ImageMaskFolder"
        )
    return layout


class Rated(NamedTuple):
    """Two kinds of files that may be images and masks."""

    common: int
    """Number of names in common."""
    rating: int
    """Positive if the paths and values of the files say that these are the images, and those the masks."""
    holds_classes: bool
    """False if the path of the masks names instances or colours."""
    few: bool
    """True if the files of the masks have few values."""
    images: FileKind
    masks: FileKind


def _rated(kinds: Sequence[FileKind]) -> list[Rated]:
    """Return all pairs of kinds with common names. Masks by their path are no images if there are photographs."""
    few = {kind.pattern: _few(kind) for kind in kinds}
    photographs = sum(len(kind.files) for kind in kinds if not few[kind.pattern] and not _is_named_mask(kind.pattern))
    rated = []
    unlike = _unlike(kinds, few)
    for images in unlike:
        if _is_named_mask(images.pattern) and photographs >= 0.5 * len(images.files):
            continue
        for masks in unlike:
            common = len(images.files.keys() & masks.files.keys())
            if images is not masks and common:
                words = _is_named_mask(masks.pattern) - _is_named_mask(images.pattern)
                rating = 2 * (few[masks.pattern] - few[images.pattern]) + words
                rated.append(Rated(common, rating, _holds_classes(masks.pattern), few[masks.pattern], images, masks))
    return rated


def _unlike(kinds: Sequence[FileKind], few: Mapping[str, bool]) -> list[FileKind]:
    """Return the first two of all kinds that are rated alike, such as those of many folders of one sample each."""
    alike: dict[tuple[frozenset[tuple[str, str]], bool, bool, bool], list[FileKind]] = {}
    for kind in kinds:
        traits = frozenset(kind.files), few[kind.pattern], _is_named_mask(kind.pattern), _holds_classes(kind.pattern)
        alike.setdefault(traits, []).append(kind)
    kept = {kind.pattern for group in alike.values() for kind in group[:2]}
    return [kind for kind in kinds if kind.pattern in kept]


def _highest(rated: Sequence[Rated]) -> Rated | None:
    """Return the pair with the highest rating among those with many names in common; None if there are no pairs."""
    most = max((one.common for one in rated), default=0)
    many = [one for one in rated if one.common >= 0.5 * most]
    return max(many, key=lambda one: (one.rating, one.holds_classes, one.common), default=None)


def _is_named_mask(pattern: str) -> bool:
    return any(word in pattern.lower() for word in MASK_WORDS)


def _holds_classes(pattern: str) -> bool:
    return not any(word in pattern.lower() for word in OTHER_MASK_WORDS)


def _few(kind: FileKind) -> bool:
    """Return whether the files of a kind have few values, as masks have."""
    files = list(kind.files.values())
    return all(few_values(file) for file in files[:: max(1, len(files) // LOOKED_AT)][:LOOKED_AT])


def _order(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)
