"""Reading of weight files without running code that they hold, and search for the state dict in their content."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from struct import error as StructError
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

SUFFIXES = (".pt", ".pth", ".safetensors", ".ckpt")

_OF_TORCH_LOAD = (
    RuntimeError,
    EOFError,
    UnpicklingError,
    LookupError,
    ValueError,
    AssertionError,
    StructError,
    OSError,
    zipfile.BadZipFile,
)
"""Exceptions of `torch.load` for files that are truncated, altered or of another kind, found with 4,000 such files."""


def content(file: Path) -> Any:
    """Return the content of a file of weights, on the CPU.

    Raises:
        ValueError: if there is no such file, or it holds other things than tensors and plain data.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder; expected a file of weights ({', '.join(SUFFIXES)})")
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        _check_sums(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ValueError(f"{file} holds no weights: it is damaged or no safetensors file ({error}); get it again") from error
    except PermissionError as error:
        raise ValueError(f"{file} may not be read: {error.strerror}") from error
    except _OF_TORCH_LOAD as error:
        raise ValueError(f"{file} holds no weights: {_reason(error)}") from error


def state_dict(content: object, file: Path) -> dict[str, Tensor]:
    """Return the state dict in a file's content: the whole content, or its only top-level mapping of names to tensors.

    Raises:
        ValueError: if there is no state dict, or more than one.
    """
    if _is_state_dict(content):
        return dict(content)
    within = {str(key): value for key, value in content.items() if _is_state_dict(value)} if isinstance(content, Mapping) else {}
    if len(within) == 1:
        return dict(next(iter(within.values())))
    if within:
        raise ValueError(f"{file} holds more than one state dict: {', '.join(within)}. Save the one that you want alone")
    raise ValueError(f"{file} holds no state dict, a mapping from names to tensors: take it out of what holds it and save it alone")


def _check_sums(file: Path) -> None:
    """Check the checksums of the archive that `torch.save` writes.

    `torch.load` reads a file with a changed bit without an error.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if (broken := archive.testzip()) is not None:
                raise zipfile.BadZipFile(broken)


def _is_state_dict(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    """Return whether `value` is a non-empty mapping from names to tensors.

    Empty mappings are no state dicts, because many checkpoints hold empty mappings beside their weights.
    """
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())


def _reason(error: Exception) -> str:
    """Describe why `torch.load` failed, without its advice to load the file in an unsafe way."""
    if kind := re.search(r"GLOBAL ([\w.]+) was not", str(error)):
        return f"it also holds objects of {kind[1]}, which could run code and are not read: save its state dict alone"
    return f"it is damaged, or torch.save did not write it ({type(error).__name__}); get it again"
