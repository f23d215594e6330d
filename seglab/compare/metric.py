"""Metrics such as `test/iou/car`: title, unit, direction and margin. Imports no large library."""

from dataclasses import dataclass

from seglab.compare.unit import MEBIBYTES, PERCENT, PLAIN, SECONDS, Unit
from seglab.records import MEAN, SHIFT

SPLITS = ("train", "val", "test", "gap", "cost")
"""First part of a metric. `gap` is the score on training images minus the score on validation images; `cost` is a cost
of the run.
"""

_EXPECTED = (
    "expected SPLIT/SCORE, or SPLIT/SCORE/CLASS for one class, such as test/miou, gap/miou, test/iou/car or cost/seconds; "
    f"SPLIT is one of {', '.join(SPLITS)}, or {SHIFT}/NAME, as in shift/noise-3/miou"
)


@dataclass(frozen=True)
class Score:
    """Declaration of a score. The defaults describe a segmentation score: in [0, 1], and larger is better."""

    title: str
    unit: Unit = PERCENT
    smaller_is_better: bool = False
    margin: float | None = 0.005
    """Largest difference that does not matter; None for a score without a fixed scale, such as a loss."""


def _cost(title: str, unit: Unit = PLAIN, smaller_is_better: bool = True) -> Score:
    return Score(title, unit, smaller_is_better, margin=None)


SCORES = {
    "miou": Score("mIoU"),
    "rare_miou": Score("mIoU of the rarer classes"),
    "fwiou": Score("frequency-weighted IoU"),
    "iou": Score("IoU"),
    "dice": Score("Dice"),
    "image_miou": Score("per-image mIoU"),
    "image_dice": Score("per-image Dice"),
    "image_miou_worst10": Score("mIoU of the worst tenth of images"),
    "boundary_iou": Score("boundary IoU"),
    "calibration_error": Score("calibration error", smaller_is_better=True),
    "loss": Score("loss", PLAIN, smaller_is_better=True, margin=None),
    "seconds": _cost("seconds", SECONDS),
    "training_seconds": _cost("training seconds", SECONDS),
    "peak_memory_mib": _cost("peak memory mib", MEBIBYTES),
    "exact_zeros": _cost("exact zeros", PERCENT, smaller_is_better=False),  # the goal of sparsity is more zeros
}
"""Scores by name. A score that is not listed is a segmentation score, or a cost without a unit if its split is
`cost`.
"""


@dataclass(frozen=True)
class Metric:
    """A metric by its parts. `str(metric)` is its text form.

    >>> metric = Metric.parse("test/iou/car")
    >>> metric.split, metric.score, metric.class_name
    ('test', 'iou', 'car')
    >>> metric.title, metric.unit.level, metric.smaller_is_better
    ('test IoU of car', '%', False)
    >>> Metric.parse("shift/noise-3/miou").title
    'mIoU under noise-3'

    Raises:
        ValueError: the split is unknown, or a part is empty.
    """

    split: str
    """One of `SPLITS`, or `shift/NAME` for a shifted test set."""
    score: str
    class_name: str | None = None
    """Name of the class; None for the number of a whole split or run."""

    def __post_init__(self) -> None:
        if (self.split not in SPLITS and not self.shift) or not self.score or self.class_name == "":
            raise ValueError(f"metric {str(self)!r}: {_EXPECTED}")

    @classmethod
    def parse(cls, text: str) -> "Metric":
        """Return the metric that `text` names.

        Raises:
            ValueError: `text` has another form; the message says which form is expected.
        """
        split, *rest = text.split("/", 2)
        if split == SHIFT and len(rest) == 2:
            split, rest = f"{SHIFT}/{rest[0]}", rest[1].split("/", 1)
        if not rest:
            raise ValueError(f"metric {text!r}: {_EXPECTED}")
        return cls(split, *rest)

    def __str__(self) -> str:
        return "/".join(part for part in (self.split, self.score, self.class_name) if part is not None)

    @property
    def shift(self) -> str | None:
        """Name of the shift, `mean` for the mean over the corruptions; None for a metric without a shift."""
        first, slash, name = self.split.partition("/")
        return name if first == SHIFT and slash and "/" not in name else None

    @property
    def name(self) -> str:
        """Name without the split, such as `mIoU`, `IoU of car` or `gap of mIoU`."""
        own = self._declared.title if self.class_name is None else f"{self._declared.title} of {self.class_name}"
        return f"gap of {own}" if self.split == "gap" else own

    @property
    def title(self) -> str:
        """Name with the split, such as `test mIoU`, `train–val gap of mIoU` or `mIoU under noise-3`."""
        if self.shift is not None:
            return f"mean {self.name} under corruption" if self.shift == MEAN else f"{self.name} under {self.shift}"
        return f"{'train–val' if self.split == 'gap' else self.split} {self.name}"

    @property
    def unit(self) -> Unit:
        """Format of printed values and differences."""
        return self._declared.unit

    @property
    def heading(self) -> str:
        """Name with the unit of a value, such as `mIoU %`: the header of a column."""
        return f"{self.name} {self.unit.level}".rstrip()

    @property
    def smaller_is_better(self) -> bool:
        """Return whether smaller values are better.

        For a gap, the direction of its score is reversed: the gap of a loss is usually negative.
        """
        return self._declared.smaller_is_better != (self.split == "gap")

    @property
    def has_direction(self) -> bool:
        """Return whether one of two values can be called better.

        A gap has no direction: below 0, neither end is over-fitting.
        """
        return self.split != "gap"

    @property
    def margin(self) -> float | None:
        """Largest difference that does not matter; None if only the user can say (losses and costs)."""
        return self._declared.margin

    @property
    def class_split(self) -> str:
        """Split whose classes are shown with this metric: its own split for `val` or a single shift, else `test`."""
        return self.split if self.split == "val" or self.shift not in (None, MEAN) else "test"

    @property
    def image_split(self) -> str:
        """Split whose images are counted one by one and drawn beside this metric, `val` or `test`.

        Shifted images are not.
        """
        return self.class_split if self.shift is None else "test"

    @property
    def _declared(self) -> Score:
        plain = self.score.replace("_", " ")
        return SCORES.get(self.score, _cost(plain) if self.split == "cost" else Score(plain))
