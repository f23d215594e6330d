"""What a bound regularizer acts on, for the log."""

import logging
from collections import defaultdict
from collections.abc import Sequence

import torch

from seglab.regularizers.base import Applied, Part, Regularizer, Term
from seglab.regularizers.penalties import Huber

ALMOST_ALL = 0.99
"""Above this fraction of weights below β, a Smooth-L1 penalty is L2 in all but name."""

log = logging.getLogger("seglab")


def log_overview(regularizer: Regularizer, applied: Applied) -> None:
    """Log, for each penalty and stage, how many parameters it acts on; and a warning where Smooth-L1 is nothing but L2."""
    log.info("%r", regularizer)
    for term in applied.terms():
        log.info("%s", "\n".join(lines(term)))
        below = fraction_below_beta(term.regularizer, [Part(weight, slice(None)) for weight in term.weights.values()])
        moved = any(weight.anchor is None for weight in term.weights.values())  # at an anchor all is 0, and says nothing
        if below is not None and moved and float(below) > ALMOST_ALL:
            log.warning(
                "%.1f %% of the weights are below β, so this Smooth-L1 penalty is L2/β; give kappa, or a smaller beta", 100 * float(below)
            )


def lines(term: Term) -> list[str]:
    """A table: stage, tensors, parameters; how many a norm layer follows; how many are pulled to pretrained values."""
    found = [f"{type(term).__name__} on stage     tensors   parameters  before a norm   anchored"]
    stages = defaultdict(list)
    for weight in term.weights.values():
        stages[weight.stage].append(weight)
    for stage, weights in stages.items():
        followed = sum(weight.tensor.numel() for weight in weights if weight.scale_free in ("filter", "tensor"))
        anchored = sum(weight.tensor.numel() for weight in weights if weight.anchor is not None)
        total = sum(weight.tensor.numel() for weight in weights)
        width = len(found[0].split("   ")[0])
        found.append(f"{stage:<{width}}   {len(weights):>9}   {total:>10,}   {followed:>12,}   {anchored:>8,}")
    return found


def fraction_below_beta(regularizer: Regularizer, parts: Sequence[Part]) -> torch.Tensor | None:
    """Of the weights of a Smooth-L1 penalty, the fraction on its quadratic part, 0-dim; None for other penalties."""
    if not isinstance(regularizer, Huber) or not parts:
        return None
    with torch.no_grad():
        below = torch.stack([(part.values().abs() < beta).sum() for part, beta in zip(parts, regularizer.betas, strict=True)]).sum()
        return below / sum(part.weight.tensor.numel() for part in parts)
