"""`seglab download`: get a published data set, in the layout that its source reads."""

import argparse
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from seglab.download.fetch import Report, fetch
from seglab.download.published import PUBLISHED, Archive, Published
from seglab.download.unpack import missing, unpack
from seglab.exit_codes import DONE
from seglab.files import errors_with_name
from seglab.suggestions import did_you_mean


def main(given: argparse.Namespace) -> int:
    """Run `seglab download` and return its exit code.

    Raises:
        ValueError: there is no such data set, it needs an account, or it cannot be downloaded.
        OSError: a file cannot be written.
    """
    if given.name not in PUBLISHED:
        raise ValueError(
            f"there is no data set {given.name!r}{did_you_mean(given.name, list(PUBLISHED))}; expected one of {', '.join(PUBLISHED)}"
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    return download(PUBLISHED[given.name], Path(given.root), given.dry_run, console)


def download(data: Published, root: Path, dry_run: bool, console: Console) -> int:
    """Download and unpack the archives of a data set, except what is already there, and return the exit code.

    An archive that lies in `root` under its own name is used and kept. An interrupted download goes on with the same
    call.

    Raises:
        ValueError: the data set needs an account, or cannot be downloaded or unpacked.
        OSError: a file cannot be written.
    """
    if not data.archives:
        raise ValueError(f"{data.name} is downloaded by hand, as it needs an account: {data.page}; `docs/howto/datasets.md` has its layout")

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(f"{data.name}: {data.page} ({data.terms})")
    if dry_run:
        for archive in data.archives:
            state = "" if missing(archive, root) else ", which is there"
            say(f"{archive.url}, {archive.gigabytes} GB: {', '.join(archive.contents)} in {root}{state}")
        return DONE
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        for archive in data.archives:
            if contents := missing(archive, root):
                file = _downloaded(archive, root, console)
                say(f"unpacking {archive.name}")
                with errors_with_name(root), _bar(console, TextColumn("{task.completed} files")) as report:
                    unpack(archive, file, root, contents, report)
                if file != root / archive.name:
                    file.unlink()
            else:
                say(f"{archive.name}: its content is there")
    say(f"done: {data.flags} --data.source.root {root}")
    return DONE


def _downloaded(archive: Archive, root: Path, console: Console) -> Path:
    """Return the file of an archive whose checksum is right.

    Download it unless the user has put it into `root`, or it is there.
    """
    own, whole, part = root / archive.name, root / f".{archive.name}", root / f".{archive.name}.part"
    if whole.is_file():
        return whole
    if own.is_file():
        if archive.md5 is not None and (found := _md5(own)) != archive.md5:
            raise ValueError(f"{own}: its MD5 is {found}; expected {archive.md5}: remove it, and the same command downloads it")
        return own
    there = part.stat().st_size if part.is_file() else 0
    if (needed := 2 * archive.gigabytes * 1e9 - there) > (free := shutil.disk_usage(root).free):
        raise ValueError(
            f"{root}: {free / 1e9:.1f} GB are free, and {archive.name} needs about {needed / 1e9:.1f} GB with its content: make room, or choose "
            "another --root"
        )
    console.print(f"downloading {archive.url}, {archive.gigabytes} GB", highlight=False, markup=False, soft_wrap=True)
    with errors_with_name(part), _bar(console, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as report:
        fetch(archive.url, part, report)
    if archive.md5 is not None and (found := _md5(part)) != archive.md5:
        part.unlink()
        raise ValueError(
            f"{archive.url}: the download has the MD5 {found}; expected {archive.md5}; it was removed: try the same command again"
        )
    return part.rename(whole)


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def _bar(console: Console, *columns: ProgressColumn) -> Iterator[Report]:
    """Show a progress bar on a terminal; yield the function that sets it to (done, total)."""
    with Progress(BarColumn(), *columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold a lock on a folder, so that two processes do not write the same files.

    Raises:
        ValueError: another process holds it.
    """
    folder = os.open(root, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{root}: another process downloads into this folder: wait for it, or choose another --root") from None
        yield
    finally:
        os.close(folder)
