"""Log which weights a bound regularizer acts on."""

import logging
from collections import defaultdict
from collections.abc import Sequence

import torch

from seglab.regularizers.applied import Applied, Term
from seglab.regularizers.penalties import Huber
from seglab.regularizers.penalty import Penalty
from seglab.regularizers.regularizer import Regularizer
from seglab.regularizers.weight import Part

ALMOST_ALL = 0.99
"""Fraction of weights below β above which a Smooth-L1 penalty is practically an L2 penalty."""

log = logging.getLogger("seglab")


def log_overview(regularizer: Regularizer, applied: Applied) -> None:
    """Log the number of parameters under each penalty, by stage, and warn if a Smooth-L1 penalty is practically L2."""
    log.info("%r", regularizer)
    for term in applied.terms():
        log.info("%s", "\n".join(lines(term)))
        below = fraction_below_beta(term.regularizer, [Part(weight, slice(None)) for weight in term.weights.values()])
        moved = any(weight.anchor is None for weight in term.weights.values())  # measured from an anchor, all weights start at 0
        if below is not None and moved and float(below) > ALMOST_ALL:
            log.warning(
                "%.1f %% of the weights are below β, so this Smooth-L1 penalty is L2/β: give kappa, or a smaller beta", 100 * float(below)
            )


def lines(term: Term) -> list[str]:
    """Return a table of tensors, parameters, parameters before a norm layer and anchored parameters by stage."""
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


def fraction_below_beta(regularizer: Penalty, parts: Sequence[Part]) -> torch.Tensor | None:
    """Return the fraction of weights on the quadratic part of a Smooth-L1 penalty, 0-dim; None for other penalties."""
    if not isinstance(regularizer, Huber) or not parts:
        return None
    with torch.no_grad():
        below = torch.stack([(part.values().abs() < beta).sum() for part, beta in zip(parts, regularizer.betas, strict=True)]).sum()
        return below / sum(part.weight.tensor.numel() for part in parts)
