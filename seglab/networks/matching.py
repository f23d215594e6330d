"""Assignment of the tensors in a file to the tensors of an encoder, whatever prefix the names in the file have."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

_OLD_DENSENET = re.compile(r"(denselayer\d+_(?:norm|relu|conv))_([12]_)")
"""Old names in torchvision's published DenseNets, which are older than torchvision's code: `norm.1` is `norm1` now."""


class Match(NamedTuple):
    """One way to read an encoder's tensors from a file."""

    root: str
    """A common prefix of all names of the encoder: `model.` for most of timm, empty for a ResNet."""
    prefix: str
    """Prefix in place of `root` that the names of these tensors have in the file, such as `module.encoder_q.`."""
    fits: dict[str, str]
    """Name in the encoder → name in the file, for each tensor that the encoder can hold."""
    wrong: dict[str, str]
    """Name in the encoder → name in the file, for each tensor of another shape or kind."""


def matches(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], in_channels: int) -> list[Match]:
    """Return all ways to find names of the encoder (`own`) in a file (`theirs`) below one prefix, the best first.

    timm flattens the names of its encoders: `stages.0.conv` is `stages_0.conv` there. Points therefore count as
    underscores. SMP puts `model.` before these names. A prefix that all names of the encoder have may therefore be
    absent from the file.
    """
    found: dict[frozenset[tuple[str, str]], Match] = {}
    for root in _roots(own):
        for prefix, names in _named(own, theirs, root).items():
            fits = {mine: name for mine, name in names.items() if _fits(own[mine], theirs[name], in_channels)}
            wrong = {mine: name for mine, name in names.items() if mine not in fits}
            found.setdefault(frozenset(names.items()), Match(root, prefix, fits, wrong))
    return sorted(found.values(), key=lambda match: (-len(match.fits), -len(match.wrong), match.prefix))


def foreign(match: Match, encoder: nn.Module, theirs: Iterable[str]) -> list[str]:
    """Return names in a file that lie within modules filled by `match` but are no names of the encoder.

    An example are the blocks of a deeper network.
    """
    filled = {_plain(path) for name in match.fits for path in _above(name.removeprefix(match.root))}
    known = {_plain(name.removeprefix(match.root)) for name in (*dict(encoder.named_parameters()), *dict(encoder.named_buffers()))}
    found = []
    for name in theirs:
        rest = name.removeprefix(match.prefix)
        if name.startswith(match.prefix) and _plain(rest) not in known and any(_plain(path) in filled for path in _above(rest)):
            found.append(name)
    return found


def _fits(own: Tensor, other: Tensor, in_channels: int) -> bool:
    """Return whether `own` can hold `other`. Both must be floating, or neither.

    The shapes are the same, or `other` holds the filters (O,3,h,w) of a first convolution and `own` has the shape
    (O,in_channels,h,w).
    """
    first = own.ndim == other.ndim == 4 and own.shape[1] == in_channels and other.shape[1] == 3
    shape = (own.shape[0], 3, *own.shape[2:]) if first else own.shape
    return other.shape == shape and own.is_floating_point() == other.is_floating_point()


def _named(own: Mapping[str, Tensor], theirs: Iterable[str], root: str) -> dict[str, dict[str, str]]:
    """Return name in the encoder → name in the file, by prefix in the file.

    Two names belong together if they are equal after `root` in the encoder and after the prefix in the file.
    """
    mine = {_plain(name[len(root) :]): name for name in own}
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name in theirs:
        plain = _plain(name)
        for start in (0, *(place + 1 for place, letter in enumerate(name) if letter == ".")):
            if (match := mine.get(plain[start:])) is not None:
                found[name[:start]][match] = name
    return found


def _roots(names: Iterable[str]) -> list[str]:
    """Return the module paths that all names begin with, each with a point at its end, the longest first.

    The last one is empty.
    """
    first, *others = names
    return [*(f"{path}." for path in _above(first) if all(name.startswith(f"{path}.") for name in others)), ""]


def _above(name: str) -> Iterator[str]:
    """Yield the paths of the modules that a tensor lies in, the innermost first."""
    while name := name.rpartition(".")[0]:
        yield name


def _plain(name: str) -> str:
    return _OLD_DENSENET.sub(r"\1\2", name.replace(".", "_"))
