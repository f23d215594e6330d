"""Unpack a part of a zip or tar archive, so that no half of it is taken for the whole."""

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from seglab.download.published import Archive

CHUNK = 2**20
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)
"""Errors of an archive that is damaged, or is none."""


def missing(archive: Archive, root: Path) -> dict[str, int]:
    """Return the contents of an archive that are not yet below `root`.

    Raises:
        ValueError: a folder is there, but has too few files.
    """
    lacking = {path: count for path, count in archive.contents.items() if not (root / path).exists()}
    for path, least in archive.contents.items():
        if path not in lacking and (found := count_files(root / path)) < least:
            raise ValueError(
                f"{root / path}: has {found} files; expected {least}: move it away, and the same command gets it again from {archive.url}"
            )
    return lacking


def count_files(path: Path) -> int:
    """Return the number of visible files in a folder, and 1 for a file."""
    if path.is_file():
        return 1
    return sum(not entry.name.startswith(".") for entry in path.iterdir()) if path.is_dir() else 0


def unpack(archive: Archive, file: Path, root: Path, contents: Mapping[str, int], report: Callable[[int, None], None]) -> None:
    """Unpack the files and folders `contents` of an archive below `root`.

    They are written to a hidden folder first, are counted, and are then moved to their places, each in one step.

    Args:
        archive: the archive's description.
        file: the archive.
        root: the folder of the data set.
        contents: a part of `archive.contents`; none of it exists below `root`.
        report: called with the number of files written so far, and None for the unknown number in all.

    Raises:
        ValueError: the archive is damaged, leads out of the folder, or lacks files.
        OSError: a file cannot be written.
    """
    building = root / ".unpacking"
    shutil.rmtree(building, ignore_errors=True)  # of a process that was killed
    try:
        written = 0
        for name, stream in _members(file):
            if (target := _target(archive, name, file)) is None or not any(
                target == one or one in target.parents for one in _paths(contents)
            ):
                continue
            _write(stream, building / target, file)
            written += 1
            report(written, None)
        for path, least in contents.items():
            if (found := count_files(building / path)) < least:
                raise ValueError(f"{file}: has {found} files of {path}; expected {least}: remove it, and the same command gets it again")
        for path in contents:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (building / path).rename(root / path)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _paths(contents: Mapping[str, int]) -> list[PurePosixPath]:
    return [PurePosixPath(path) for path in contents]


def _members(file: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and the bytes of each regular file in an archive. Links are left out.

    Raises:
        ValueError: the archive is damaged.
    """
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as packed:
                for info in packed.infolist():
                    if not info.is_dir():
                        with packed.open(info) as stream:
                            yield info.filename, stream
        else:
            with tarfile.open(file, "r|*") as packed_tar:
                for member in packed_tar:
                    content = packed_tar.extractfile(member) if member.isreg() else None
                    if content is not None:
                        yield member.name, content
    except DAMAGE as error:
        raise _damaged(file, error) from error


def _target(archive: Archive, name: str, file: Path) -> PurePosixPath | None:
    """Return the path below the root of a file in an archive; None if it lies outside of the folder that is taken.

    Raises:
        ValueError: the path leads out of the root.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ValueError(f"{file}: contains {name!r}, which leads out of the folder: do not use this archive")
    return PurePosixPath(archive.under) / path.relative_to(archive.strip) if path.is_relative_to(archive.strip) else None


def _write(stream: IO[bytes], target: Path, archive: Path) -> None:
    """Write the bytes of a file in an archive."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        while True:
            try:
                part = stream.read(CHUNK)
            except DAMAGE as error:
                raise _damaged(archive, error) from error
            if not part:
                return
            out.write(part)


def _damaged(file: Path, error: Exception) -> ValueError:
    return ValueError(f"{file}: is damaged ({error or type(error).__name__}): remove it, and the same command gets it again")
