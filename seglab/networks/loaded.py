"""What a network holds of pretrained weights, as it is kept on the network and as it is told."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

COUNTER = "num_batches_tracked"
"""A norm's count of batches: older files have none, and no output depends on it."""


@dataclass(frozen=True)
class LoadedWeights:
    """What a network holds of pretrained weights. It names no folder, so that it is the same on every machine."""

    source: str
    """The file's name, or that of weights on the hub."""
    loaded: tuple[str, ...]
    """The network's parameters and buffers that were taken."""
    skipped: tuple[str, ...]
    """What the file has beside them, under the file's names; of weights on the hub it is not known."""
    missing: tuple[str, ...]
    """The network's parameters and buffers that are new."""


def loaded_weights(network: nn.Module) -> LoadedWeights | None:
    """Tell what `seglab.network` loaded into `network`; None from scratch, and for other modules."""
    report: LoadedWeights | None = getattr(network, "loaded_weights", None)
    return report


def pretrained_parameters(network: nn.Module) -> frozenset[str]:
    """Give the names of the parameters that `network` loaded from pretrained weights; empty from scratch, and for other modules."""
    names: frozenset[str] = getattr(network, "pretrained", frozenset())
    return names


def weights_summary(network: nn.Module) -> str:
    """Say in one to three lines what `network` loaded, what it left in the file, and what of it is new."""
    report = loaded_weights(network)
    if report is None:
        return f"from scratch: {sum(parameter.numel() for parameter in network.parameters()):,} parameters are new"
    lines = [f"from {report.source}: {_counts(network, report.loaded)}"]
    if report.skipped:
        lines.append(f"skipped in the file: {some(report.skipped)}")
    return "\n".join([*lines, f"new: {_counts(network, report.missing) or 'nothing'}"])


def remember(network: nn.Module, source: str, loaded: Iterable[str], skipped: Iterable[str] = ()) -> None:
    """Keep on a network what of it was loaded, by the names of its parameters and buffers."""
    taken, own = set(loaded), network.state_dict()
    report = LoadedWeights(source, tuple(n for n in own if n in taken), tuple(sorted(skipped)), tuple(n for n in own if n not in taken))
    network.loaded_weights = report  # type: ignore[assignment]
    network.pretrained = frozenset(name for name, _ in network.named_parameters() if name in taken)  # type: ignore[assignment]


def some(names: Iterable[str], count: int = 3) -> str:
    """The first few of some names, and how many more there are."""
    words = list(names)
    more = f" and {len(words) - count} more" if len(words) > count else ""
    return ", ".join(words[:count]) + more


def _counts(network: nn.Module, names: Iterable[str]) -> str:
    """`encoder 100 tensors (11,176,512 parameters)`, for each part of the network that `names` are of."""
    parameters, parts = dict(network.named_parameters()), {name: name.partition(".")[0] for name in names if not name.endswith(COUNTER)}
    return ", ".join(
        f"{part.removeprefix('segmentation_')} {sum(own == part for own in parts.values())} tensors "
        f"({sum(parameters[name].numel() for name, own in parts.items() if own == part and name in parameters):,} parameters)"
        for part in dict.fromkeys(parts.values())
    )
