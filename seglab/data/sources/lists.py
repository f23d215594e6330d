"""Read split lists: text files that name the samples of a split, one a line."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from seglab.data.reading.read import opened
from seglab.data.sources.dataset import SPLITS, Split
from seglab.data.sources.files import Pair, composed
from seglab.data.sources.patterns import FOLDERS, SPLIT
from seglab.suggestions import did_you_mean

Files = Mapping[str, Path]

Known = tuple[Mapping[str, set[str]], Mapping[str, set[str]]]
"""Keys by paths and by names."""


def listed(lists: Path, files: tuple[Files, Files], root: Path) -> dict[Split, dict[str, Pair]]:
    """Return the pairs that the list of each split names, sorted; a split without a list is left out.

    A line holds the part of the name that image and mask share, or the path of the image (its ending may be left out),
    or the paths of the image and the mask. Folders before the path below `root` are dropped, because lists have those
    of their author's machine.

    Args:
        lists: path of the lists, with {split} for the split's name.
        files: images and masks by the shared part of their names.
        root: folder of the files.

    Raises:
        ValueError: there is no list, or a line names no file, a file without a partner, or a file of a line before.
    """
    images, masks = files
    known = _known(images, root), _known(masks, root)
    found: dict[Split, dict[str, Pair]] = {}
    for split in SPLITS:
        paths = [Path(str(lists).replace(SPLIT, name)) for name in FOLDERS[split]]
        there = [path for path in paths if path.is_file()]
        if not there:
            continue
        if len(there) > 1:
            raise ValueError(f"{there[0]}: there is {there[1].name} too, and both mean {split}: expected one of them; move the other away")
        path = there[0]
        lines: dict[str, int] = {}
        for number, line in _lines(path):
            key = _key(line, known, f"{path}, line {number}", images, masks)
            if key in lines:
                raise ValueError(f"{path}, line {number}: {line!r} is listed twice, first in line {lines[key]}: remove one line")
            lines[key] = number
        if not lines:
            raise ValueError(f"{path}: lists no samples; expected the name of a sample in each line")
        found[split] = {key: Pair(images[key], masks[key]) for key in sorted(lines)}
    if not found:
        raise ValueError(
            f"{lists}: there is no such file, with {SPLIT} = train, val or test: correct lists, a path below root or an absolute one"
        )
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a list that are not empty, with their numbers."""
    with opened(path, "a split list", "its split") as stream:
        text = composed(stream.read().decode("utf-8-sig"))
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _key(line: str, known: tuple[Known, Known], where: str, images: Files, masks: Files) -> str:
    """Return the shared part of the names of the files that a line names."""
    keys = _named(line, known[0]) or _named(line, known[1])
    words = line.replace(",", " ").split()
    if not keys and len(words) == 2:
        keys = _named(words[0], known[0])
        if keys and keys != _named(words[1], known[1]):
            raise ValueError(
                f"{where}: {words[1]!r} is not the mask of {words[0]!r} by the patterns: correct the list, or images and masks"
            )
    if len(keys) > 1:
        raise ValueError(f"{where}: {line!r} may be {' or '.join(sorted(keys)[:3])}: write the path of the image below root")
    if not keys:
        hint = did_you_mean(line, images)
        raise ValueError(f"{where}: {line!r} is none of the {len(images)} images that the pattern matches{hint}: correct the list")
    (key,) = keys
    for kind, there, other in (("mask", masks, images), ("image", images, masks)):
        if key not in there:
            raise ValueError(f"{where}: {line!r} has no {kind} that the pattern matches, but {other[key]}: add it, or remove the line")
    return key


def _known(files: Files, root: Path) -> Known:
    """Return the keys that a line may mean, by key, path below root or file name, with and without ending."""
    paths: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    for key, file in files.items():
        path = PurePosixPath(composed(file.relative_to(root).as_posix()))
        for known, texts in ((paths, {str(path), str(path.with_suffix(""))}), (names, {path.name, path.stem})):
            for text in texts:
                known.setdefault(text, set()).add(key)
    return paths | {key: {key} for key in files}, names


def _named(text: str, known: Known) -> set[str]:
    """Return the keys that a text names.

    Leading folders are dropped, but never down to a bare name that several folders may have.
    """
    paths, names = known
    text = text.removeprefix("./").lstrip("/")
    if "/" not in text and text not in paths:
        return names.get(text, set())
    while text not in paths and "/" in text:
        text = text.partition("/")[2]
    return paths.get(text, set())
