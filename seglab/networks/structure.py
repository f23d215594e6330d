"""What follows from a network's structure is found once for all networks of a process that share it: every run of an arm builds it anew."""

import copy
import functools
import hashlib
import io
import pickle
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

T = TypeVar("T")


def found_once(find: Callable[[nn.Module], T]) -> Callable[[nn.Module], T]:
    """Let `find`, which does not look at values of tensors, remember what it found for each structure."""
    known: dict[bytes, T] = {}

    @functools.wraps(find)
    def remembering(network: nn.Module) -> T:
        key = structure(network)
        if key is None:
            return find(network)
        if key not in known:
            known[key] = find(network)
        return copy.deepcopy(known[key])

    return remembering


def structure(network: nn.Module) -> bytes | None:
    """A hash of all that a network is made of, its classes and all attributes, tensors by shape, dtype and identity; None for one that
    cannot be pickled. In one process, equal hashes mean equal structures."""
    written = io.BytesIO()
    try:
        _Structure(written, protocol=5).dump(network)
    except Exception:  # noqa: BLE001 - objects refuse to be pickled in any way
        return None
    return hashlib.sha256(written.getbuffer()).digest()


class _Structure(pickle.Pickler):
    """Writes a number in place of each tensor, the same for one that is used again, and what it is like; and of classes and functions their
    identity, as a notebook may define a name a second time."""

    _named: ClassVar[set[Any]] = set()
    """Those that were met; kept, so that no other gets its id."""

    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self._tensors: dict[int, tuple[int, Tensor]] = {}

    def persistent_id(self, thing: Any) -> tuple[Any, ...] | None:
        if isinstance(thing, type) or (isinstance(thing, FunctionType) and "<" not in thing.__qualname__):
            self._named.add(thing)
            return thing.__qualname__, id(thing)
        if not isinstance(thing, Tensor):
            return None
        number, _ = self._tensors.setdefault(id(thing), (len(self._tensors), thing))  # kept, so that no other gets its id
        return number, thing.dtype, tuple(thing.shape), thing.requires_grad
