"""Cache of results that follow from the structure of a network.

Every run of an arm builds its network anew. A result is computed once for all networks of a process that have the same
structure.
"""

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


def cached_by_structure(find: Callable[[nn.Module], T]) -> Callable[[nn.Module], T]:
    """Cache the results of `find` by the structure of the network. `find` must not depend on the values of tensors."""
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
    """Return a hash of a network's structure: its classes, all attributes, and shape, dtype and identity of tensors.

    Return None for a network that cannot be pickled. In one process, equal hashes mean equal structures.
    """
    written = io.BytesIO()
    try:
        _Structure(written, protocol=5).dump(network)
    except Exception:  # noqa: BLE001 - an object that cannot be pickled may raise anything
        return None
    return hashlib.sha256(written.getbuffer()).digest()


class _Structure(pickle.Pickler):
    """Pickles a module with tensors replaced by (index, dtype, shape, requires_grad); shared tensors keep one index.

    Classes and functions are replaced by their name and id, because a notebook may define a name a second time.
    """

    _named: ClassVar[set[Any]] = set()
    """Classes and functions that were pickled. They are kept, so that no other object gets the id of one of them."""

    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self._tensors: dict[int, tuple[int, Tensor]] = {}

    def persistent_id(self, thing: Any) -> tuple[Any, ...] | None:
        if isinstance(thing, type) or (isinstance(thing, FunctionType) and "<" not in thing.__qualname__):
            self._named.add(thing)
            return thing.__qualname__, id(thing)
        if not isinstance(thing, Tensor):
            return None
        number, _ = self._tensors.setdefault(id(thing), (len(self._tensors), thing))  # kept, so that no other tensor gets its id
        return number, thing.dtype, tuple(thing.shape), thing.requires_grad
