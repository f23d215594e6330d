"""Masks that belong to other images: shifted by one in the order of names, or mixed up."""

from collections.abc import Sequence

from seglab.data.audit.finding import MOST_SHOWN, Audited, Finding, Place
from seglab.data.audit.survey import Fit

LEAST = 12
"""Least number of samples of a split for a judgement."""

SHIFTED = 0.75
"""Part of the masks that must fit a neighbour's image better than their own. In CamVid and Shapes it is at most 0.17 of
right masks, and at least 0.9 of masks that were shifted by one.
"""

MIXED = 0.7
"""Part of the masks that must fit their own image better than one that is eight places before. In CamVid and Shapes it
is at least 0.86 of right masks, and at most 0.57 of masks that were mixed up.
"""

CHANCE = 1e-3
"""Probability of a one-sided sign test below which a part is no chance."""


def findings(audited: Audited, fits: Sequence[Fit]) -> list[Finding]:
    """Return findings on masks that do not follow the edges of their images."""
    found = []
    for split in audited.splits:
        of_split = [fit for fit in fits if fit.place.split == split]
        found += _shifted(audited, split, of_split) or _mixed(audited, split, of_split)
    return found


def _shifted(audited: Audited, split: str, fits: Sequence[Fit]) -> list[Finding]:
    found = []
    for side, step, word in (("before", -1, "the image before it"), ("after", 1, "the image after it")):
        compared = [(fit, other) for fit in fits if (other := fit.before if side == "before" else fit.after) is not None]
        better = [fit for fit, other in compared if other > fit.own]
        if len(compared) >= LEAST and len(better) >= SHIFTED * len(compared) and tail(len(better), len(compared)) < CHANCE:
            found.append(
                Finding(
                    "error",
                    "masks are shifted by one",
                    f"{len(better)} of {len(compared)} masks of {split} fit {word} in the order of names better than their own image",
                    "check the numbering: perhaps images are counted from 0 and masks from 1; rename the masks",
                    tuple(str(audited.mask_file(fit.place) or fit.place) for fit in better),
                    tuple(
                        (fit.place, Place(split, fit.place.index + step))
                        for fit in better[:: max(1, len(better) // MOST_SHOWN)][:MOST_SHOWN]
                    ),
                )
            )
    return found


def _mixed(audited: Audited, split: str, fits: Sequence[Fit]) -> list[Finding]:
    compared = [(fit, fit.far) for fit in fits if fit.far is not None]
    own = sum(fit.own > far for fit, far in compared)
    if len(compared) < 2 * LEAST or own >= MIXED * len(compared):
        return []
    return [
        Finding(
            "warning",
            "masks do not follow their images",
            f"only {own} of {len(compared)} masks of {split} fit the edges of their own image better than those of another image; half of "
            "them would do so by chance",
            "look at the pictures: if masks belong to other images, correct the names. Classes without visible borders look like this too",
            (),
            tuple((fit.place,) for fit, _ in compared[:: max(1, len(compared) // MOST_SHOWN)][:MOST_SHOWN]),
        )
    ]


def tail(successes: int, trials: int) -> float:
    """Return the probability of at least so many successes of fair trials.

    >>> tail(2, 2), tail(1, 2)
    (0.25, 0.75)
    """
    from scipy.special import bdtrc

    return float(bdtrc(successes - 1, trials, 0.5))
