"""Write a file atomically: whole or not at all.

No torch, so that reading and writing results does not wait for its import.
"""

import contextlib
import errno
import os
import socket
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

LONGEST = 255
"""Largest number of bytes in the name of a file on the usual file systems."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors of a full disk, and of a user's full quota."""

_PROCESSES = Path("/proc/self/ns/pid")
_OF_THE_HOST = 0xEFFFFFFC
"""Number of the process namespace of a Linux host itself (PROC_PID_INIT_INO in the kernel)."""


def host() -> str:
    """Return the name of this host. In a container, append its process namespace, which gives process ids a meaning.

    Containers can have the name of their host, as by `docker run --network host`, and yet other process ids.
    """
    name = socket.gethostname()
    try:
        namespace = _PROCESSES.stat().st_ino
    except OSError:  # a system other than Linux
        return name
    return name if namespace == _OF_THE_HOST else f"{name}+{namespace}"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, for which other processes wait here.

    It ends with the process. On a file system without such locks, as some of networks, nothing is held.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError, ImportError):
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_write(path: Path, *, keep: Path | None = None, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing bytes, and rename it to `path` when the block ends.

    If the block or the write fails, `path` is as it was and the temporary file is deleted. A process that is killed
    inside the block leaves the temporary file `.<name>.<host>.<pid>.part`, which `ledger.remove_leftovers` deletes. The
    end of a long name is replaced by a checksum there.

    A device or a pipe, such as `/dev/stdout`, is opened itself: a rename would put a file in its place.

    Args:
        path: the file to write; its folder exists.
        keep: the name under which a file that is already at `path` is kept; None replaces it.
        durable: wait until the bytes are on the disk before renaming, so that a power failure cannot leave an empty
            file.

    Raises:
        OSError: the file cannot be written, for example because the disk is full. If the system names no file,
            `filename` is `path`.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp(), "a.txt")
    >>> with atomic_write(target) as file:
    ...     _ = file.write(b"all of it")
    >>> target.read_text()
    'all of it'
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        with errors_with_name(path), path.open("wb") as file:
            yield file
        return
    part = _part(path)
    try:
        with errors_with_name(path):
            with part.open("wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            if keep is not None and path.exists():
                path.replace(keep)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    """Return the temporary file of `path`, whose name has at most `LONGEST` bytes."""
    name, end = path.name, f".{host()}.{os.getpid()}.part"
    if len(os.fsencode(f".{name}{end}")) > LONGEST:
        checksum = f"~{zlib.crc32(os.fsencode(name)):08x}"  # two names of one beginning keep two files
        room = LONGEST - len(os.fsencode(f".{checksum}{end}"))
        name = os.fsencode(name)[:room].decode("utf-8", "ignore") + checksum  # no half of a character
    return path.with_name(f".{name}{end}")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power failure, on file systems that support it for folders."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse it
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_full(folder: Path) -> bool:
    """Return whether the disk of a folder, or the user's quota there, has no room for another 64 KiB."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        return error.errno in FULL
    return False


@contextlib.contextmanager
def errors_with_name(path: Path) -> Iterator[None]:
    """Add the name `path` to an `OSError` that names no file.

    Raise the `OSError` that is the cause of torch's "unexpected pos" error.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    except RuntimeError as error:  # torch.save reports a full disk as a RuntimeError that was raised while it handled an OSError
        if isinstance(error.__context__, OSError):
            raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from None
        raise
