"""A study's folder as it is found: the finished runs, and a line for everything that is damaged, unfinished or missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seglab.compare.numbers.comparison import Comparison, compare
from seglab.compare.numbers.factorial import Factorial, compare_factors
from seglab.records import Result, StudyRecord, identity, read_record, read_results


@dataclass(frozen=True)
class StudyFolder:
    """What a study has left behind so far, its arms in the declared order where that is known."""

    folder: Path
    results: tuple[Result, ...]
    record: StudyRecord | None
    problems: tuple[str, ...]
    """One line for each damaged result, each run without one, each declared arm without any."""


def read_folder(folder: Path) -> StudyFolder:
    """Read `<root>/<study>/`. Damage is listed, not raised; a ValueError if the folder is not there."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder. Name the folder of one study, <root>/<study>")
    results, problems = read_results(folder)
    record = None
    try:
        record = read_record(folder)
    except ValueError as error:
        problems.append(str(error))
    if record is not None:
        results = [result for result in results if _belongs(result, record, problems)]
    declared = [] if record is None else list(record.arms)
    order = {arm: place for place, arm in enumerate(declared)}
    ordered = sorted(results, key=lambda result: order.get(result.run.arm, len(order)))
    return StudyFolder(folder, tuple(ordered), record, (*problems, *_unfinished(folder), *_absent(declared, results)))


def _belongs(result: Result, record: StudyRecord, problems: list[str]) -> bool:
    """Whether a run was made with the settings of `study.json`; if not, a line says so."""
    if result.run.arm in record.arms and result.identity == identity(record, result.run):
        return True
    problems.append(f"{result.run.name}: was made with other settings than those of study.json; left out")
    return False


def compare_folder(
    study: StudyFolder, *, baseline: str | None = None, metric: str | None = None, alpha: float = 0.05, margin: float = 0.005
) -> Comparison:
    """`compare` on a folder, its problems among the notes. Baseline and metric are those of `study.json` unless given."""
    return replace(
        found := compare(study.results, baseline=_baseline(study, baseline), metric=_metric(study, metric), alpha=alpha, margin=margin),
        notes=(*study.problems, *found.notes),
    )


def compare_folder_factors(study: StudyFolder, comparison: Comparison) -> tuple[Factorial | None, tuple[str, ...]]:
    """The effects of the factors that `study.json` names, by the baseline, metric and limits of the folder's `comparison`, and notes.

    None for a study that crosses none, and, with a note why, where its results do not make a grid. The notes are what `comparison`
    does not say already, those within the effects too.
    """
    if study.record is None or not study.record.factors:
        return None, ()
    try:
        found = compare_factors(
            study.results,
            factors=study.record.factors,
            baseline=comparison.baseline,
            metric=comparison.metric,
            arms=list(study.record.arms),
            alpha=comparison.alpha,
            margin=comparison.margin,
        )
    except ValueError as error:
        return None, (f"no effects of {' and '.join(study.record.factors)}: {error}",)
    found = replace(found, notes=tuple(note for note in found.notes if note not in comparison.notes))
    return found, found.notes


def _baseline(study: StudyFolder, given: str | None) -> str:
    if given is not None:
        return given
    if study.record is not None:
        return study.record.baseline
    arms = ", ".join(dict.fromkeys(result.run.arm for result in study.results))
    raise ValueError(f"{study.folder}: no readable study.json says which arm is the baseline: name one of {arms}")


def _metric(study: StudyFolder, given: str | None) -> str:
    if given is not None:
        return given
    return "test/miou" if study.record is None else study.record.metric


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
