"""Run time of a loss, relative to cross-entropy."""

from statistics import median
from time import perf_counter

from torch import Tensor, nn

from seglab.checking.candidate import Subject
from seglab.checking.outcomes import Outcome, told
from seglab.losses import CrossEntropy

REPETITIONS = 5


def cost(candidate: Subject) -> Outcome:
    """Time forward and backward passes of the loss and of cross-entropy in turn, and compare their medians.

    The outcome has no verdict.
    """
    batch = candidate.batch(4, 256, 256)
    pairs = [[_seconds(loss, *batch) for loss in (candidate.build(), CrossEntropy())] for _ in range(REPETITIONS)]
    mine, reference = (median(times) for times in zip(*pairs, strict=True))
    return told(f"{1e3 * mine:.1f} ms, {mine / reference:.2g} × cross-entropy, for 4 images of 256×256 on this CPU")


def _seconds(loss: nn.Module, logits: Tensor, mask: Tensor) -> float:
    leaf = logits.clone().requires_grad_()
    start = perf_counter()
    loss(leaf, mask).backward()
    return perf_counter() - start
