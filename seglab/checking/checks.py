"""All checks, in the order in which they run."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from seglab.checking.candidate import Subject
from seglab.checking.contract import all_shapes, finite, number_with_gradient
from seglab.checking.gradient import gradient_of_the_value
from seglab.checking.labels import absent_classes, all_ignored, ignored_pixels, padding
from seglab.checking.numerics import half_precision, order, repeatable, untouched
from seglab.checking.outcomes import Outcome, raised
from seglab.checking.timing import cost
from seglab.checking.two_processes import two_processes
from seglab.sample import IGNORE


class Check(NamedTuple):
    """A check of a loss: its title, the function that runs it, and the explanation and advice printed with a ✗."""

    title: str
    run: Callable[[Subject], Outcome]
    advice: str

    def outcome(self, candidate: Subject) -> Outcome:
        """Run the check and return its outcome. The check fails if the loss raises an exception."""
        try:
            return self.run(candidate)
        except Exception as error:  # noqa: BLE001 - whatever a loss raises, the other checks go on
            return raised(error)


CHECKS = (
    Check(
        "a number with a gradient",
        number_with_gradient,
        "A loss turns logits (N,C,H,W) and mask (N,H,W) into one floating number, a sum or a mean, without .item(), .detach() or argmax; "
        "--classes says how many classes it is tried with.",
    ),
    Check(
        "any batch and image size",
        all_shapes,
        "An epoch may end with a batch of one image, and images need not be square: take sizes from logits.shape, and squeeze nothing.",
    ),
    Check(
        "finite at extreme logits",
        finite,
        "One such pixel ends a training: use log_softmax or logsigmoid in place of a log of probabilities, and clamp before a division, "
        "a root or a power.",
    ),
    Check(
        "gradient matches value",
        gradient_of_the_value,
        "Training would not minimise what is logged: correct the backward that is written by hand, or the .detach() that cuts a part off.",
    ),
    Check(
        "nothing labelled",
        all_ignored,
        f"A batch or an image that is all {IGNORE} ends a training with NaN, or moves the weights: divide by the number of labelled pixels "
        "with .clamp(min=1).",
    ),
    Check(
        "absent classes",
        absent_classes,
        "Most batches lack a class: leave absent ones out of the mean, or divide by what is at least 1.",
    ),
    Check(
        "ignored pixels",
        ignored_pixels,
        f"Pixels without a label steer the training: leave those with mask == {IGNORE} out of every sum.",
    ),
    Check(
        "padding",
        padding,
        f"Images with much void would count less: divide by (mask != {IGNORE}).sum(), not by the number of all pixels.",
    ),
    Check(
        "half precision",
        half_precision,
        "Sums over an image overflow or lose their digits in half precision: begin with logits = logits.float().",
    ),
    Check(
        "two processes",
        two_processes,
        "On several GPUs an arm must minimise what it does on one, and a mean over the local batch does not: divide sums over all "
        "processes with seglab.losses.ratio_over_ranks (or sum_over_ranks). On one device this does not matter.",
    ),
    Check(
        "repeatable",
        repeatable,
        "Two trainings under one seed would differ: draw random numbers from torch alone, and carry nothing over from one call to the next.",
    ),
    Check(
        "inputs and state untouched",
        untouched,
        "Metrics, or the next batch, see the change: work on copies, and write to buffers only if self.training.",
    ),
    Check(
        "image order, memory layout",
        order,
        "Neither means anything: move the class axis with movedim before flattening, and use reshape in place of view.",
    ),
    Check("cost", cost, ""),
)


def outcomes(candidate: Subject) -> Iterator[tuple[Check, Outcome]]:
    """Run the checks in order and yield each check with its outcome.

    If the first check fails, the loss gives no number with a gradient, and no other check runs.
    """
    for check in CHECKS:
        outcome = check.outcome(candidate)
        yield check, outcome
        if outcome.failed and check is CHECKS[0]:
            return
