"""Write and find checkpoint files that survive a kill, a crash and a full disk."""

import io
import logging
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

from seglab.files import atomic_write, sync_folder

log = logging.getLogger("seglab")


class AtomicCheckpoints(CheckpointIO):
    """Writes each checkpoint whole or not at all, and keeps the one that it replaces as `<name>.prev.<suffix>`.

    Lightning's own plugin writes to $TMPDIR and copies the file from there, and a copy to another file system may be
    cut off.

    Objects among the hyperparameters of Lightning, such as the network after `self.save_hyperparameters()`, are left
    out: a file with objects is not loaded.

    Args:
        identity: names the run, its settings and its seed; saved in each of its checkpoints.
        spare: the path of a checkpoint that may fail to be written. The failure is logged, and the training goes on.
    """

    def __init__(self, identity: str, spare: Path | None = None) -> None:
        self.identity = identity
        self.spare = spare

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(path, keep=previous(path)) as file:
                torch.save({**_without_objects(checkpoint), "identity": self.identity}, file)
            sync_folder(path.parent)
        except OSError as error:
            if path != self.spare:
                raise
            log.warning(
                "%s: cannot be written (%s). The training goes on; a restart would use the previous checkpoint", path, error.strerror
            )

    @override
    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Load plain data and tensors; refuse a file that holds anything else."""
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded

    @override
    def remove_checkpoint(self, path: str | Path) -> None:
        remove(Path(path))


class CheckpointRehearsal(AtomicCheckpoints):
    """Checks that each checkpoint could be loaded, and writes nothing."""

    def __init__(self) -> None:
        super().__init__("")

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Check a checkpoint.

        Raises:
            ValueError: a part of it is more than plain numbers, text and tensors.
        """
        if "seglab" not in checkpoint:
            raise ValueError("on_save_checkpoint lacks super().on_save_checkpoint(checkpoint), without which no checkpoint can be loaded")
        for name, part in _without_objects(checkpoint).items():
            if error := _not_loadable(_emptied(part)):
                raise ValueError(
                    f"a checkpoint would keep objects under {name!r} ({_culprits(part, error)}), and could not be loaded: give it plain numbers, "
                    "text and tensors, such as float(value)"
                ) from error


def check_resumable(part: LRScheduler | Optimizer) -> None:
    """Check that a checkpoint can hold the state of a scheduler or an optimizer.

    Raises:
        ValueError: the state is more than plain numbers, text and tensors, so that an interrupted training could not be
            resumed.
    """
    if error := _not_loadable(part.state_dict()):
        raise ValueError(
            f"{type(part).__name__} keeps values that no checkpoint can hold ({_culprits(part.state_dict(), error)}), so that an interrupted "
            "training could not be resumed: give it plain numbers, such as float(value), or let its state_dict leave them out"
        ) from error


def newest(path: Path, identity: str) -> Path | None:
    """Return the newest whole checkpoint of the run with this identity: `path`, the one before it, or None.

    Log the name of each file that is damaged or belongs to another run. Every byte is checked, because torch loads a
    file with a changed bit without an error.
    """
    for generation in _generations(path):
        fault = _fault(generation, identity)
        if fault is None:
            return generation
        log.warning("%s: %s; it is not used", generation, fault)
    return None


def remove(path: Path) -> None:
    """Delete a checkpoint and the one before it."""
    for generation in _generations(path):
        generation.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """Return the path of the checkpoint before this one: `resume.ckpt` → `resume.prev.ckpt`."""
    return path.with_name(f"{path.stem}.prev{path.suffix}")


def _generations(path: Path) -> Iterator[Path]:
    return (generation for generation in (path, previous(path)) if generation.exists())


def _fault(path: Path, identity: str) -> str | None:
    """Say why a file is no usable checkpoint of this run; None if it is one."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            return f"damaged (in {broken})"
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get("identity")
    except Exception as error:  # noqa: BLE001 - a damaged file fails in any way
        return f"damaged ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'})"
    return None if found == identity else "belongs to a run of other settings or of another seed"


def _not_loadable(state: object) -> Exception | None:
    """Return the error with which saving or loading a part of a checkpoint fails; None if it can be loaded."""
    file = io.BytesIO()
    try:
        torch.save(state, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception as error:  # noqa: BLE001 - saving calls code of the user's objects
        return error
    return None


def _culprits(state: object, error: Exception) -> str:
    return ", ".join(dict.fromkeys(_not_plain(state))) or type(error).__name__


def _without_objects(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without the hyperparameters that are not plain."""
    kept = dict(checkpoint)
    for name in (L.LightningModule.CHECKPOINT_HYPER_PARAMS_KEY, L.LightningDataModule.CHECKPOINT_HYPER_PARAMS_KEY):
        if name in kept:
            kept[name] = {key: value for key, value in kept[name].items() if not any(_not_plain(value))}
    return kept


def _emptied(value: object) -> object:
    """Return a part of a checkpoint with tensors of no elements, which take no time to save."""
    if isinstance(value, torch.Tensor):
        return value.detach().new_empty(0)
    if type(value) in (dict, OrderedDict):
        return {name: _emptied(item) for name, item in value.items()}  # type: ignore[attr-defined]
    if type(value) in (list, tuple):
        items = [_emptied(item) for item in value]  # type: ignore[attr-defined]
        return tuple(items) if type(value) is tuple else items
    return value


def _not_plain(value: object) -> Iterator[str]:
    """Yield the name of each type in a state that is neither a plain value, a tensor nor a container of such values."""
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _not_plain(item)
    elif type(value) not in (int, float, bool, str, type(None)) and not isinstance(value, torch.Tensor):
        yield f"{type(value).__module__}.{type(value).__qualname__}"
