"""Report of the pretrained weights in a network: stored on the network, and summarized in words."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

COUNTER = "num_batches_tracked"
"""Name of a norm's count of batches. Older files have no such count, and no output depends on it."""


@dataclass(frozen=True)
class LoadedWeights:
    """Report of the pretrained weights in a network. It names no folder, so that it is the same on every machine."""

    source: str
    """Name of the file, or name of the weights on the hub."""
    loaded: tuple[str, ...]
    """Names of the network's parameters and buffers that were loaded."""
    skipped: tuple[str, ...]
    """Names in the file of tensors that were not loaded. Empty for weights on the hub, where these names are
    unknown.
    """
    missing: tuple[str, ...]
    """Names of the network's parameters and buffers that were not loaded, and so are new."""


def loaded_weights(network: nn.Module) -> LoadedWeights | None:
    """Return the report of what `seglab.network` loaded into `network`.

    Return None for a network from scratch, and for other modules.
    """
    report: LoadedWeights | None = getattr(network, "loaded_weights", None)
    return report


def pretrained_parameters(network: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that `network` loaded from pretrained weights.

    The set is empty for a network from scratch, and for other modules.
    """
    names: frozenset[str] = getattr(network, "pretrained", frozenset())
    return names


def weights_summary(network: nn.Module) -> str:
    """Describe in one to three lines what `network` loaded, what was skipped in the file, and what is new."""
    report = loaded_weights(network)
    if report is None:
        return f"from scratch: {sum(parameter.numel() for parameter in network.parameters()):,} parameters are new"
    lines = [f"from {report.source}: {_counts(network, report.loaded)}"]
    if report.skipped:
        lines.append(f"skipped in the file: {some(report.skipped)}")
    return "\n".join([*lines, f"new: {_counts(network, report.missing) or 'nothing'}"])


def remember(network: nn.Module, source: str, loaded: Iterable[str], skipped: Iterable[str] = ()) -> None:
    """Store on a network which of its parameters and buffers were loaded, by name, and what was skipped in the file."""
    taken, own = set(loaded), network.state_dict()
    report = LoadedWeights(source, tuple(n for n in own if n in taken), tuple(sorted(skipped)), tuple(n for n in own if n not in taken))
    network.loaded_weights = report  # type: ignore[assignment]
    network.pretrained = frozenset(name for name, _ in network.named_parameters() if name in taken)  # type: ignore[assignment]


def some(names: Iterable[str], count: int = 3) -> str:
    """Return the first `count` names and the number of the other names, as text."""
    words = list(names)
    more = f" and {len(words) - count} more" if len(words) > count else ""
    return ", ".join(words[:count]) + more


def _counts(network: nn.Module, names: Iterable[str]) -> str:
    """Count the tensors and parameters in `names` for each part of the network.

    The result reads `encoder 100 tensors (11,176,512 parameters)`, with a comma between two parts.
    """
    parameters, parts = dict(network.named_parameters()), {name: name.partition(".")[0] for name in names if not name.endswith(COUNTER)}
    return ", ".join(
        f"{part.removeprefix('segmentation_')} {sum(own == part for own in parts.values())} tensors "
        f"({sum(parameters[name].numel() for name, own in parts.items() if own == part and name in parameters):,} parameters)"
        for part in dict.fromkeys(parts.values())
    )
