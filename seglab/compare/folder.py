"""Read the folder of a study: finished runs, and one line for each damaged, unfinished or missing run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seglab.compare.criteria import Criteria
from seglab.compare.metric import Metric
from seglab.compare.numbers.comparison import Comparison, compare
from seglab.compare.numbers.factorial import Factorial, compare_factors
from seglab.records import MEAN, Result, StudyRecord, corruption_mean, identity, read_record, read_results


@dataclass(frozen=True)
class StudyFolder:
    """Results of a study so far, and problems of its folder."""

    folder: Path
    results: tuple[Result, ...]
    """Results of the finished runs, the arms in the order of `study.json` if it is readable."""
    record: StudyRecord | None
    problems: tuple[str, ...]
    """One line for each damaged result, each run without a result, and each declared arm without any."""

    def criteria(
        self, metric: str | None = None, baseline: str | None = None, alpha: float = 0.05, margin: float | None = None
    ) -> Criteria:
        """Return criteria for this study. Default metric and baseline come from `study.json`; the default margin is the metric's margin.

        Raises:
            ValueError: a value is invalid, or no baseline is given and `study.json` is missing or damaged.
        """
        if metric is None:
            metric = "test/miou" if self.record is None else self.record.metric
        if baseline is None:
            baseline = self._declared_baseline()
        return Criteria(Metric.parse(metric), baseline, alpha, margin)

    def _declared_baseline(self) -> str:
        if self.record is not None:
            return self.record.baseline
        arms = ", ".join(dict.fromkeys(result.run.arm for result in self.results))
        raise ValueError(f"{self.folder}: no readable study.json says which arm is the baseline: name one of {arms}")


def read_folder(folder: Path) -> StudyFolder:
    """Read `<root>/<study>/`. Damaged files are listed in `problems`.

    Raises:
        ValueError: the folder does not exist.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder. Name the folder of one study, <root>/<study>")
    results, problems = read_results(folder)
    record = None
    try:
        record = read_record(folder)
    except ValueError as error:
        problems.append(str(error))
    if record is not None:
        results = [_with_whole_mean(result, record) for result in results if _belongs(result, record, problems)]
    declared = [] if record is None else list(record.arms)
    order = {arm: place for place, arm in enumerate(declared)}
    ordered = sorted(results, key=lambda result: order.get(result.run.arm, len(order)))
    return StudyFolder(folder, tuple(ordered), record, (*problems, *_unfinished(folder), *_absent(declared, results)))


def compare_folder(study: StudyFolder, criteria: Criteria | None = None) -> Comparison:
    """Return `compare` of a study's results, with the problems of its folder among the notes. None stands for `study.criteria()`.

    Raises:
        ValueError: see `compare`.
    """
    criteria = study.criteria() if criteria is None else criteria
    try:
        found = compare(study.results, criteria)
    except ValueError as error:
        if any(result.run.arm == criteria.baseline for result in study.results):
            raise
        raise ValueError("; ".join((str(error), *study.problems))) from None  # a damaged result may be why the baseline has none
    return replace(found, notes=(*study.problems, *found.notes))


def compare_folder_factors(study: StudyFolder, comparison: Comparison) -> tuple[Factorial | None, tuple[str, ...]]:
    """Return the effects of the factors that `study.json` names, by the criteria of `comparison`, and notes.

    The effects are None if the study crosses no factors, or if its results are no grid; a note then says why. Notes that `comparison`
    has already are not repeated.
    """
    if study.record is None or not study.record.factors:
        return None, ()
    factors = study.record.factors
    try:
        found = compare_factors(study.results, factors, comparison.criteria, arms=list(study.record.arms))
    except ValueError as error:
        return None, (f"no effects of {' and '.join(factors)}: {error}",)
    found = replace(found, notes=tuple(note for note in found.notes if note not in comparison.notes))
    return found, found.notes


def _belongs(result: Result, record: StudyRecord, problems: list[str]) -> bool:
    """Return whether a run was made with the settings of `study.json`; if not, append a line to `problems`."""
    if result.run.arm in record.arms and result.identity == identity(record, result.run):
        return True
    problems.append(f"{result.run.name}: was made with other settings than those of study.json; left out")
    return False


def _with_whole_mean(result: Result, record: StudyRecord) -> Result:
    """Return a result without its mean over the corruptions if it lacks one of the study's, so that means of different sets never meet."""
    if MEAN not in result.shift or corruption_mean(result.shift, record.shifts) is not None:
        return result
    return replace(result, shift={name: scores for name, scores in result.shift.items() if name != MEAN})


def _unfinished(folder: Path) -> list[str]:
    open_seeds: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*/seed-*")):
        number = path.name.removeprefix("seed-")
        if number.isdecimal() and path.is_dir() and not (path / "result.json").exists():
            open_seeds.setdefault(path.parent.name, []).append(int(number))
    return [f"{arm}: seed {', '.join(map(str, sorted(seeds)))} has not finished; left out" for arm, seeds in open_seeds.items()]


def _absent(declared: Sequence[str], results: Sequence[Result]) -> list[str]:
    found = {result.run.arm for result in results}
    return [f"{arm}: declared in the study, but no run of it has a readable result" for arm in declared if arm not in found]
