"""Find files by a pattern such as `labels/*_mask.png`: what its wildcards match pairs an image with its mask."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path

from seglab.data.reading.formats import ENDINGS, OTHER_ENDINGS
from seglab.data.sources.dataset import Split
from seglab.data.sources.files import composed, utf8

SPLIT = "{split}"
"""Stands in a pattern for the folder of a split."""

FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Names of the folder or list of each split, in lower case; a data set has one of them."""

HOW = (
    "a pattern is the path of the files below root, in which * stands for the part of the name that an image shares with its mask, "
    "**/ for any folders, and {split} for train, val and test, as in 'images/*.jpg' and 'labels/*_mask.png'"
)

_MOST_LISTED = 20_000


class Pattern:
    """Pattern of the paths below a root of all images, or of all masks.

    `*` matches a part of a name, `**/` any number of folders, and everything else itself. Without an ending, or with
    the ending `.*`, all endings that are read match. Upper and lower case of an ending are the same.

    Args:
        text: the pattern.
        field: the argument that it comes from, for messages.

    Raises:
        ValueError: the text is no pattern, or its ending is not read.
    """

    def __init__(self, text: str, field: str) -> None:
        self.field, self.text = field, composed(text.removeprefix("./"))
        folder, _, name = self.text.rpartition("/")
        if name == "**":
            folder, name = f"{folder}/**".lstrip("/"), "*"
        stem, dot, ending = name.rpartition(".")
        self.ending = f".{ending}" if dot and "*" not in ending else None
        """The ending of the files; None for all that are read."""
        self._body = "/".join([*([folder] if folder else []), stem if dot and (self.ending or ending == "*") else name])
        self._check(text)

    def _check(self, text: str) -> None:
        parts = self._body.split("/")
        if "*" not in self._body or text.startswith(("/", "~")) or ".." in parts or "" in parts:
            raise ValueError(f"{self.field} is {text!r}: expected a path below root with a *; {HOW}")
        if any("**" in part and part != "**" for part in parts) or any(char in self._body.replace(SPLIT, "") for char in "{}?[]"):
            raise ValueError(f"{self.field} is {text!r}: known are *, a folder ** and {SPLIT}; {HOW}")
        if self.ending is not None and self.ending.lower() not in ENDINGS:
            raise ValueError(
                f"{self.field} is {text!r}: files with the ending {self.ending} are not read, but {', '.join(sorted(ENDINGS))}: "
                "convert the files, or correct the ending"
            )

    @property
    def names_split(self) -> bool:
        """True if the path of a file tells its split."""
        return SPLIT in self._body

    @property
    def wildcards(self) -> int:
        """Number of parts that an image shares with its mask."""
        return len(re.findall(r"\*+", self._body))

    @property
    def literals(self) -> int:
        """Number of characters that are no wildcards.

        Of two patterns that match a file, the one with more of them is meant.
        """
        return len(self.text.replace("*", "").replace(SPLIT, ""))

    def files(self, root: Path, split: Split | None = None) -> dict[str, Path]:
        """Return the files that match, by the part that the wildcards match, sorted by this part.

        Hidden files are left out.

        Raises:
            ValueError: two files have the same part in common with their partners, or two folders mean the same split.
        """
        if split is None or not self.names_split:
            return dict(sorted(self._files(root, self._body).items()))
        found = {word: files for word in self._words(root, split) if (files := self._files(root, self._body.replace(SPLIT, word)))}
        if len(found) > 1:
            raise ValueError(
                f"{root}: {self.field} {self.text!r} matches files with {SPLIT} = {' and '.join(found)}, which all mean {split}: expected one "
                "of them; move the files together, or name the splits by lists"
            )
        return dict(sorted(next(iter(found.values()), {}).items()))

    def _words(self, root: Path, split: Split) -> list[str]:
        """Return what {split} may stand for, in the upper and lower case that is there."""
        before = self._body.partition(SPLIT)[0]
        folder, _, start = before.rpartition("/")
        if "*" in before:
            return [form for word in FOLDERS[split] for form in (word, word.capitalize(), word.upper())]
        found = set()
        for name in _listed(root / folder):
            rest = name.removeprefix(start).lower() if name.startswith(start) else ""
            if word := max((word for word in FOLDERS[split] if rest.startswith(word)), key=len, default=""):
                found.add(name[len(start) :][: len(word)])
        return sorted(found)

    def _files(self, root: Path, body: str) -> dict[str, Path]:
        ending = r"\.[^./]+" if self.ending is None else f"(?i:{re.escape(self.ending)})"
        expression = re.compile(_expression(body) + ending)
        found: dict[str, Path] = {}
        unread: dict[str, Path] = {}
        known = ENDINGS | OTHER_ENDINGS
        for path in walk(root, _fixed(body), None if "**" in body else body.count("/")):
            suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - pathlib takes most of the time for many files
            if suffix not in known or (match := expression.fullmatch(composed(utf8(path, root)))) is None:
                continue
            key = "/".join(part.strip("/") for part in match.groups() if part)
            kind, file = found if suffix in ENDINGS else unread, root / path
            if kind is found and key in found:
                raise ValueError(
                    f"{file}: has the same name as {found[key].name} where {self.field} {self.text!r} has its *, and files are paired by "
                    "this name: rename or remove one, or name the ending in the pattern"
                )
            kind[key] = file
        for key in sorted(unread.keys() - found.keys()):
            raise ValueError(
                f"{unread[key]}: is not read, as its ending is none of {', '.join(sorted(ENDINGS))}: convert the file, or move it out of "
                f"what {self.field} {self.text!r} matches"
            )
        return found

    def example(self, key: str) -> str:
        """Return the path that a file with this shared part is expected to have."""
        parts = key.split("/")
        deep = len(parts) - len(re.findall(r"(?<!\*)\*(?!\*)", self._body))
        filled = ""
        for piece in re.split(r"(\*\*/|\*)", self._body):
            if piece == "**/":
                filled, parts, deep = filled + "".join(f"{part}/" for part in parts[:deep]), parts[deep:], 0
            else:
                filled += parts.pop(0) if piece == "*" else piece
        return filled + (".*" if self.ending is None else self.ending)

    def folder(self, root: Path) -> Path:
        """Return the folder below which all files that match lie."""
        return root / _fixed(self._body.partition(SPLIT)[0] if self.names_split else self._body)


def walk(root: Path, below: str = "", depth: int | None = None) -> Iterator[str]:
    """Yield the path below `root` of each visible file in the folder `below`, at most `depth` folders below root.

    Links to folders are followed, but for one that leads to a folder around it.

    Raises:
        ValueError: a folder cannot be listed.
    """
    for folder, folders, files in os.walk(root / below, onerror=_refuse_unlisted, followlinks=True):
        inner = Path(folder).relative_to(root)
        if depth is not None and len(inner.parts) >= depth:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _leads_back(folder, name))
        prefix = f"{inner.as_posix()}/" if inner.parts else ""
        yield from (prefix + name for name in sorted(files) if not name.startswith("."))


def nearest(expected: str, key: str, paths: Iterator[str]) -> str | None:
    """Return the path most like the expected one that contains the last part of the key; None if there is none."""
    name = key.rpartition("/")[2].casefold()
    close = [path for path in islice(paths, _MOST_LISTED) if name in composed(path).casefold()]
    return max(close, key=lambda path: SequenceMatcher(None, path, expected).ratio(), default=None)


def what_is_there(root: Path, pattern: str) -> str:
    """Return, for a message, the kinds of files below a root as patterns, those that are most like a pattern first."""
    if not root.is_dir():
        return f"{root} is no folder: correct root"
    kinds = Counter(str(Path(path).parent / f"*{Path(path).suffix}") for path in islice(walk(root), _MOST_LISTED))
    if not kinds:
        return f"{root} has no files"
    likeness = {kind: SequenceMatcher(None, kind, pattern).ratio() for kind in kinds}
    named = sorted(kinds, key=lambda kind: (Path(kind).suffix.lower() not in ENDINGS, -likeness[kind], kind))[:4]
    more = " and others" if len(kinds) > len(named) else ""
    return f"{root} has {', '.join(f'{kind} ({kinds[kind]})' for kind in named)}{more}"


def _expression(body: str) -> str:
    """Return a regular expression with a group for each wildcard."""
    wild = {"**/": r"((?:[^/]+/)*)", "*": r"([^/]+)"}
    return "".join(wild.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*)", body))


def _fixed(body: str) -> str:
    """Return the folders of a pattern that come before the first wildcard."""
    return body.partition("*")[0].rpartition("/")[0]


def _listed(folder: Path) -> list[str]:
    """Return the names in a folder in composed Unicode; none if there is no such folder."""
    try:
        return [composed(name) for name in os.listdir(folder)]  # noqa: PTH208
    except OSError as error:
        _refuse_unlisted(error)
        return []


def _refuse_unlisted(error: OSError) -> None:
    """Raise a ValueError if a folder exists and cannot be listed: its files would be left out in silence."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise ValueError(f"{error.filename}: this folder cannot be listed ({error.strerror}): correct its permissions") from error


def _leads_back(folder: str, name: str) -> bool:
    """Return whether a folder is a link to one of the folders around it."""
    if not os.path.islink(os.path.join(folder, name)):  # noqa: PTH114, PTH118
        return False
    around = Path(folder).resolve()
    return Path(folder, name).resolve() in (around, *around.parents)
