"""All results that are shown about a study: computed once, for the terminal and for the report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from seglab.compare import health
from seglab.compare.criteria import Criteria
from seglab.compare.environments import cpu_threads
from seglab.compare.folder import StudyFolder, compare_folder, compare_folder_factors
from seglab.compare.images.findings import ImageFindings, image_findings, too_large
from seglab.compare.logs import curves, rates, weights
from seglab.compare.logs.curves import Curves
from seglab.compare.logs.log import RunLog, read_logs
from seglab.compare.metric import Metric
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.classes import PerClass, per_class
from seglab.compare.numbers.factorial import Factorial
from seglab.compare.numbers.paired import PairedTest
from seglab.compare.tuning import Tuning, read_tuning
from seglab.records import Result, alike

LOGGED = {**curves.LOGGED, **rates.LOGGED, **weights.LOGGED, **health.LOGGED}
"""Columns of `metrics.csv` that the report and the notes on health use."""

MOST_DRAWN = 24
"""Largest number of arms in a picture: more could not be told apart."""


@dataclass(frozen=True)
class Findings:
    """A study and all results that were computed from it."""

    study: StudyFolder
    comparison: Comparison
    factors: Factorial | None
    """Effects of the factors; None if the study crosses no factors, or if its results do not form a grid."""
    factor_notes: tuple[str, ...]
    """Notes on `factors` that are not among the notes of `comparison`."""
    whole: "Findings | None" = None
    """The findings of all arms, if these are the findings of the arms that pictures show."""

    @property
    def criteria(self) -> Criteria:
        """Criteria of all comparisons."""
        return self.comparison.criteria

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each item that was left out, and for each limit of the answer."""
        return (*self.comparison.notes, *self.factor_notes, *self.class_contrasts[1], *self.curves[1])

    @property
    def compared(self) -> tuple[Result, ...]:
        """Results under the seeds of `comparison`."""
        return tuple(result for result in self.study.results if result.run.seed in self.comparison.seeds)

    @property
    def classes(self) -> PerClass | None:
        """Contrasts of each class; None without an arm besides the baseline, or without scores of each class."""
        return self.class_contrasts[0]

    @cached_property
    def health(self) -> tuple[str, ...]:
        """One line for each sign that the numbers do not mean what they seem to mean."""
        threads = cpu_threads(self.study.folder, [result.run for result in self.study.results])
        tuning = () if self.tuning is None else self.tuning.notes
        return (*health.notes(health.Evidence(self.study.results, self.comparison, self.logs, threads, self._alike())), *tuning)

    def _alike(self) -> list[tuple[str, ...]]:
        """Return the groups of compared arms with the same settings; none if each arm has several tunings."""
        record, shown = self.study.record, {summary.arm for summary in self.comparison.arms}
        return [] if record is None or record.tunings > 1 else alike({arm: own for arm, own in record.arms.items() if arm in shown})

    @cached_property
    def tuning(self) -> Tuning | None:
        """Tuning of the arms: candidates, choices and cost; None for a study without tuning."""
        return read_tuning(self.study.folder, self.study.record)

    @cached_property
    def images(self) -> ImageFindings:
        """Certainty of each contrast for new images.

        Each `confusion.npz` is read once, on first use, unless there are too many.
        """
        arms = {summary.arm for summary in self.comparison.arms}
        compared = [result for result in self.study.results if result.run.arm in arms]
        split = self.criteria.metric.image_split
        if self.criteria.splits is None and (reason := too_large(self.study.folder, compared, split)):
            return ImageFindings(split, problems=(reason,))
        return image_findings(self.study.folder, compared, self.comparison)

    @cached_property
    def logs(self) -> Sequence[RunLog]:
        """Logs of all finished runs, read on first use.

        With more arms than a picture shows, without the columns of the stages.
        """
        wanted = LOGGED if self.pictured is self else {**curves.LOGGED, **health.LOGGED}
        return read_logs(self.study.folder, [result.run for result in self.study.results], wanted)

    @cached_property
    def pictured(self) -> "Findings":
        """The part of the findings that pictures show: the first `MOST_DRAWN` arms, in the order of the table."""
        arms = [arm.arm for arm in self.comparison.arms[:MOST_DRAWN]]
        if len(arms) == len(self.comparison.arms):
            return self
        comparison = replace(
            self.comparison,
            arms=self.comparison.arms[:MOST_DRAWN],
            contrasts=tuple(contrast for contrast in self.comparison.contrasts if contrast.arm in arms),
        )
        study = replace(self.study, results=tuple(result for result in self.study.results if result.run.arm in arms))
        return replace(self, study=study, comparison=comparison, whole=self)

    @cached_property
    def class_contrasts(self) -> tuple[PerClass | None, tuple[str, ...]]:
        """The contrasts of each class, and notes on them. Each p is adjusted over the cells of all arms."""
        if self.whole is None:
            return _classes(self.compared, self.comparison)
        classes, notes = self.whole.class_contrasts
        arms = {arm.arm for arm in self.comparison.arms}
        return classes and replace(classes, cells=tuple(cell for cell in classes.cells if cell.arm in arms)), notes

    @cached_property
    def curves(self) -> tuple[Curves, tuple[str, ...]]:
        """Learning curves, and a note for each run without one."""
        return curves.curves_of(self.logs)


def analyse(study: StudyFolder, criteria: Criteria | None = None) -> Findings:
    """Compare the arms of a study, its factors and its classes. None stands for `study.criteria()`.

    Raises:
        ValueError: see `compare`.
    """
    comparison = compare_folder(study, criteria)
    factors, factor_notes = compare_folder_factors(study, comparison)
    return Findings(study, comparison, factors, factor_notes)


def _classes(results: Sequence[Result], comparison: Comparison) -> tuple[PerClass | None, tuple[str, ...]]:
    if not comparison.contrasts:
        return None, ()
    try:
        criteria = comparison.criteria
        metric = Metric(criteria.metric.class_split, "iou")
        classes = per_class(results, criteria.baseline, metric, PairedTest(criteria.test_share), criteria.tunings)
    except ValueError as error:
        return None, (f"no per-class results: {error}",)
    return classes, classes.notes
