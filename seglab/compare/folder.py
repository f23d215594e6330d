"""Read the folder of a study: finished runs, and one line for each damaged, unfinished or missing run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from seglab.compare.criteria import Criteria
from seglab.compare.declared import amendment_note, declared_analysis, shown_seeds
from seglab.compare.metric import Metric
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.comparison import compare
from seglab.compare.numbers.factorial import Factorial, compare_factors
from seglab.compare.numbers.looks import Ending
from seglab.compare.splits import data_splits
from seglab.records import MEAN, Result, Run, StudyRecord, corruption_mean, identity, read_record, read_results, started_runs


@dataclass(frozen=True)
class StudyFolder:
    """Results of a study so far, and problems of its folder."""

    folder: Path
    results: tuple[Result, ...]
    """Results of the finished runs, the arms in the order of `study.json` if it is readable."""
    record: StudyRecord | None
    problems: tuple[str, ...]
    """One line for each damaged result, each run without a result, and each declared arm without any."""
    endings: Mapping[Run, Ending] = field(default_factory=dict)
    """State of each run that has a folder and no result: diverged, failed or open."""

    def criteria(
        self, metric: str | None = None, baseline: str | None = None, alpha: float | None = None, margin: float | None = None
    ) -> Criteria:
        """Return criteria for this study. What is not given is taken from the declared analysis in `study.json`.

        The default margin is the declared one for the declared metric, and the metric's own margin for another metric.
        Criteria that differ from the declared analysis are exploratory.

        Raises:
            ValueError: a value is invalid, or no baseline is given and `study.json` is missing or damaged.
        """
        declared = None if self.record is None else declared_analysis(self.record)
        if declared is None:
            chosen = "test/miou" if metric is None else metric
            if baseline is None:
                raise ValueError(self._unknown_baseline())
            return Criteria(Metric.parse(chosen), baseline, 0.05 if alpha is None else alpha, margin)
        if margin is None and metric in (None, declared.metric):
            margin = declared.margin
        return Criteria(
            metric=Metric.parse(declared.metric if metric is None else metric),
            baseline=declared.baseline if baseline is None else baseline,
            alpha=declared.alpha if alpha is None else alpha,
            margin=margin,
            declared=declared,
            splits=data_splits(self.record),
        )

    def _unknown_baseline(self) -> str:
        """Return the message that no `study.json` names the baseline.

        The message says whether the file is missing or damaged, and what to do.
        """
        path = self.folder / "study.json"
        found = [problem for problem in self.problems if problem.startswith(f"{path}: ")]
        arms = ", ".join(dict.fromkeys(result.run.arm for result in self.results))
        return f"{'; '.join(found) if found else f'{path}: is missing'}. It says which arm is the baseline; without it, name one of {arms} by --baseline"


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
        results, others = _by_settings(results, record)
        problems += _of_other_settings(others)
        results = [_with_whole_mean(result, record) for result in results]
    declared: tuple[str, ...] = ()
    if record is not None:
        analysis = declared_analysis(record)
        declared = tuple(dict.fromkeys((*analysis.arms, *analysis.dropped_arms, *record.arm_names)))
    order = {arm: place for place, arm in enumerate(declared)}
    ordered = sorted(results, key=lambda result: order.get(result.run.arm, len(order)))
    endings = _endings(folder, _study_name(folder, record, results))
    if record is not None:
        problems += _of_unknown_arms([run for run in endings if run.arm not in declared])
        endings = {run: ending for run, ending in endings.items() if run.arm in declared}
    return StudyFolder(folder, tuple(ordered), record, (*problems, *_without_result(endings), *_absent(declared, results)), endings)


def compare_folder(study: StudyFolder, criteria: Criteria | None = None) -> Comparison:
    """Return `compare` of a study's results, with the problems of its folder among the notes.

    None stands for `study.criteria()`.

    Raises:
        ValueError: see `compare`.
    """
    criteria = replace(study.criteria() if criteria is None else criteria, splits=data_splits(study.record))
    if criteria.declared is None and study.record is not None:
        criteria = replace(criteria, declared=declared_analysis(study.record))
    try:
        found = compare(study.results, criteria, study.endings)
    except ValueError as error:
        if any(result.run.arm == criteria.baseline for result in study.results):
            raise
        raise ValueError("; ".join((str(error), *study.problems))) from None  # a damaged result may be why the baseline has none
    return replace(found, notes=(*_declaration_notes(study, criteria), *study.problems, *found.notes))


def _declaration_notes(study: StudyFolder, criteria: Criteria) -> list[str]:
    """Return a line for each amendment, and one if this is not the declared comparison."""
    amendments = () if study.record is None else study.record.amendments
    notes = [amendment_note(amendment) for amendment in amendments]
    if criteria.exploratory:
        notes.append(f"exploratory, as this is not the declared comparison: {'; '.join(criteria.deviations)}")
    return notes


def compare_folder_factors(study: StudyFolder, comparison: Comparison) -> tuple[Factorial | None, tuple[str, ...]]:
    """Return the effects of the factors that `study.json` names, by the criteria of `comparison`, and notes.

    The effects are None if the study crosses no factors, or if its results are no grid; a note then says why. Notes
    that `comparison` has already are not repeated.
    """
    if study.record is None or not study.record.factors:
        return None, ()
    factors = study.record.factors
    try:
        arms = list(dict.fromkeys((*declared_analysis(study.record).arms, *study.record.arm_names)))
        found = compare_factors(study.results, factors, comparison.criteria, arms, study.endings)
    except ValueError as error:
        return None, (f"no effects of {' and '.join(factors)}: {error}",)
    found = replace(found, notes=tuple(note for note in found.notes if note not in comparison.notes))
    return found, found.notes


def _by_settings(results: Sequence[Result], record: StudyRecord) -> tuple[list[Result], list[Result]]:
    """Return the results that were made with the settings of `study.json`, and the others."""
    own: list[Result] = []
    others: list[Result] = []
    for result in results:
        belongs = record.entry(result.run) in record.arms and result.identity == identity(record, result.run)
        (own if belongs else others).append(result)
    return own, others


def _of_other_settings(results: Sequence[Result]) -> list[str]:
    """Return a line for each arm that these results of other settings are of."""
    seeds: dict[str, list[int]] = {}
    for result in results:
        seeds.setdefault(result.run.arm, []).append(result.run.seed)
    return [f"{arm}, {shown_seeds(own)}: made with other settings than those of study.json; left out" for arm, own in seeds.items()]


def _with_whole_mean(result: Result, record: StudyRecord) -> Result:
    """Return a result without its mean over the corruptions if it lacks one of the study's corruptions.

    Means over different sets of corruptions are then never compared.
    """
    if MEAN not in result.shift or corruption_mean(result.shift, record.shifts) is not None:
        return result
    return replace(result, shift={name: scores for name, scores in result.shift.items() if name != MEAN})


def _of_unknown_arms(runs: Sequence[Run]) -> list[str]:
    """Return a line for each arm of these runs, which have no result, and whose arms are not in `study.json`."""
    return [f"{arm}: is no arm of study.json, and its runs have no result; left out" for arm in dict.fromkeys(run.arm for run in runs)]


def _study_name(folder: Path, record: StudyRecord | None, results: Sequence[Result]) -> str:
    """Return the name of the study in a folder, which may have another name."""
    if record is not None:
        return record.study
    return results[0].run.study if results else folder.name


def _endings(folder: Path, study: str) -> dict[Run, Ending]:
    """Return the state of each run that has a folder and no result."""
    places = {run: run.directory(folder) for run in started_runs(folder, study)}
    return {run: _ending(place / "failure.json") for run, place in places.items() if not (place / "result.json").exists()}


def _ending(failure: Path) -> Ending:
    """Return how the run with this `failure.json` has ended; open if there is no such file."""
    if not failure.exists():
        return "open"
    try:
        error = str(json.loads(failure.read_text(encoding="utf-8"))["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return "failed"
    return "diverged" if error.startswith("NonFiniteLossError") else "failed"


_WORDS: Mapping[Ending, str] = {"diverged": "diverged", "failed": "failed; left out", "open": "not finished; left out"}


def _without_result(endings: Mapping[Run, Ending]) -> list[str]:
    """Return a line for each arm with runs that have no result, by their state."""
    seeds: dict[tuple[str, Ending], list[int]] = {}
    for run in sorted(endings):
        seeds.setdefault((run.arm, endings[run]), []).append(run.seed)
    return [f"{arm}: {shown_seeds(own)} {'has' if len(own) == 1 else 'have'} {_WORDS[ending]}" for (arm, ending), own in seeds.items()]


def _absent(declared: Sequence[str], results: Sequence[Result]) -> list[str]:
    found = {result.run.arm for result in results}
    return [f"{arm}: declared in the study, but no run of it has a readable result" for arm in declared if arm not in found]
