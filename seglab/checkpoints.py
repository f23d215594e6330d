"""Checkpoint files that a kill, a crash or a full disk cannot spoil."""

import logging
import os
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from typing_extensions import override

log = logging.getLogger("seglab")


class AtomicCheckpoints(CheckpointIO):
    """Writes each checkpoint whole or not at all, on any file system, and keeps the one that it replaces as `<name>.prev.<suffix>`.

    Lightning's own way goes through $TMPDIR, and from there to another file system by a copy that may be cut off.

    Args:
        identity: of the run, which is written into its checkpoints.
        spare: a checkpoint that the training can do without for a while: if it cannot be written, the log says so, and what is there stays.
    """

    def __init__(self, identity: str, spare: Path | None = None) -> None:
        self.identity = identity
        self.spare = spare

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
        try:
            _write({**checkpoint, "identity": self.identity}, part)
            if path.exists():
                path.replace(previous(path))
            part.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            if path != self.spare:
                raise
            log.warning(
                "%s: cannot be written (%s); the training goes on, and if it is interrupted, from the one before", path, error.strerror
            )
        finally:
            part.unlink(missing_ok=True)

    @override
    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Plain data and tensors; whatever else a file holds is refused."""
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded

    @override
    def remove_checkpoint(self, path: str | Path) -> None:
        remove(Path(path))


def newest(path: Path, identity: str) -> Path | None:
    """The newest generation of a checkpoint that is whole and belongs to the run with this identity; None if there is none.

    What is damaged or of another run is named in the log. A whole file is read, as torch does not notice a bit that has changed.
    """
    for generation in _generations(path):
        fault = _fault(generation, identity)
        if fault is None:
            return generation
        log.warning("%s: %s; it is not used", generation, fault)
    return None


def remove(path: Path) -> None:
    """Delete all generations of a checkpoint."""
    for generation in _generations(path):
        generation.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """`resume.ckpt` → `resume.prev.ckpt`."""
    return path.with_name(f"{path.stem}.prev{path.suffix}")


def _generations(path: Path) -> Iterator[Path]:
    return (generation for generation in (path, previous(path)) if generation.exists())


def _fault(path: Path, identity: str) -> str | None:
    """What is wrong with a checkpoint of this run; None if nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            return f"damaged (in {broken})"
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get("identity")
    except Exception as error:  # noqa: BLE001 - a damaged file fails in any way
        return f"damaged ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'})"
    return None if found == identity else "belongs to a run of other settings"


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    """Onto the disk. torch reports a full one as an "unexpected pos"."""
    with path.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from None
            raise
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power failure, where the file system knows how."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
