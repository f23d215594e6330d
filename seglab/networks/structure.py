"""Cache of results that follow from the structure of a network.

Every run of an arm builds its network anew. A result is computed once for all networks of a process that have the same
structure.
"""

import copy
import functools
import hashlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn
from typing_extensions import override

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
    """Pickles a module with tensors replaced by (dtype, shape, requires_grad).

    A tensor that is shared is written once, and then referred to.

    Classes and functions are replaced by their name and id, because a notebook may define a name a second time.
    """

    _named: ClassVar[set[Any]] = set()
    """Classes and functions that were pickled. They are kept, so that no other object gets the id of one of them."""

    @override
    def reducer_override(self, thing: Any) -> Any:
        """Return what is pickled for an object that is no plain data; `NotImplemented` for the usual."""
        if isinstance(thing, Tensor):
            return _as_tuple(thing.dtype, tuple(thing.shape), thing.requires_grad)
        if type(thing) is OrderedDict:  # of hooks, ten in each module: the usual takes longer than all else
            return _as_tuple(*thing.items())
        if isinstance(thing, type):
            is_named = thing.__module__ != "builtins"
        else:
            is_named = isinstance(thing, FunctionType) and "<" not in thing.__qualname__
        if not is_named:
            return NotImplemented
        self._named.add(thing)
        return _as_tuple(thing.__qualname__, id(thing))


def _as_tuple(*values: Any) -> tuple[type[tuple[Any, ...]], tuple[tuple[Any, ...]]]:
    """Return how a tuple is made, in the form in which an object tells pickle how it is made."""
    return tuple, (values,)
