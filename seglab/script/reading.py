"""`status`, `compare` and `cancel`, which read the folders of studies and train nothing.

No torch, so that they start at once.
"""

import io
import sys
from argparse import _ActionsContainer as Flags
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console

from seglab.cluster import jobs
from seglab.dashboard.notices import standing
from seglab.exit_codes import DONE, FAILED
from seglab.records import TUNING, read_record, read_results
from seglab.running.status import count, runs_in, status_table
from seglab.script.output import FORMS, PRINTED, Output, deliver, text_of
from seglab.suggestions import did_you_mean

if TYPE_CHECKING:
    from seglab.compare import Findings

READING = ("status", "cancel", "compare")
"""Verbs of a script that train nothing and build no study."""


class Given(Protocol):
    """Values of the flags of a verb in `READING`.

    Only `compare` has the flags of `add_comparison_flags`, and only `cancel` has --dry_run.
    """

    root: str
    name: str | None
    metric: str | None
    baseline: str | None
    margin: float | None
    alpha: float | None
    classes: bool
    format: str | None
    output: str | None
    dry_run: bool


def read(verb: str, study: str, given: Given) -> int:
    """Do a verb of `READING` on a study of this name, unless the flags name another."""
    folder = Path(given.root) / (study if given.name is None else given.name)
    console = terminal()
    if verb == "status":
        return show_status(folder, console)
    if verb == "compare":
        return show_comparison(folder, Wanted.of(given), console)
    places = [place for place in (folder, tuning_folder(folder)) if place is not None]
    ended = [cancel(place, given.dry_run, console) for place in places]
    show_status(folder, console)
    return DONE if all(ended) else FAILED


def terminal() -> Console:
    """Return the console of the standard output: 120 columns wide if it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 120)


def study_folders(path: Path) -> list[Path]:
    """Return `path` if it is a study's folder, else the study folders in it; raise a ValueError if there are none."""
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder; expected a study's folder, such as runs/regularization, or the folder of several")
    if _is_study(path):
        return [path]
    tuned = {record.parents[1] for record in path.glob(f"*/{TUNING}/study.json")}
    found = sorted({record.parent for record in path.glob("*/study.json")} | {folder for folder in tuned if tuning_folder(folder)})
    if not found:
        raise ValueError(f"{path}: holds no study (no study.json in it or one level below)")
    return found


def show_status(folder: Path, console: Console) -> int:
    """Print the state of each run; return 1 if a result is damaged, else 0."""
    _existing(folder)
    tuning = tuning_folder(folder)
    places = [folder] if tuning is None else [tuning, *([folder] if (folder / "study.json").exists() else [])]
    for place in places:
        console.print(status_table(place, runs_in(place)))
        _show_jobs(place, console)
    for line in standing(folder):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    problems = [problem for place in places for problem in read_results(place)[1]]
    for problem in problems:
        console.print(problem, style="red", highlight=False, markup=False)
    return FAILED if problems else DONE


def _show_jobs(folder: Path, console: Console) -> None:
    """Print the queued jobs of a study that was launched."""
    submitted = jobs.submissions(folder)
    if not submitted:
        return
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a user's own cluster, by its import path from the working directory
    for path, group in jobs.by_cluster(submitted).items():
        try:
            found = jobs.lines(jobs.in_queue(group)) or [f"none of its jobs is in the queue of {path.rpartition('.')[2]}"]
        except ValueError as error:
            found = [f"its jobs: {error}"]
        for line in found:
            console.print(line, highlight=False, markup=False)


def cancel(folder: Path, dry_run: bool, console: Console) -> bool:
    """Cancel the queued jobs of the study in `folder`, and return whether no job is left."""
    submitted = jobs.submissions(folder)
    there = jobs.in_queue(submitted)
    for line in jobs.lines(there):
        console.print(line, highlight=False, markup=False)
    if not there or dry_run:
        console.print(f"{folder}: {'would cancel ' + count(len(there), 'job') if there else 'no job is in the queue'}", highlight=False)
        return True
    left = jobs.cancel(submitted)
    console.print(f"{folder}: cancelled {count(len(there) - len(left), 'job')}", highlight=False)
    for line in jobs.lines(left):
        console.print(f"still there: {line}", style="yellow", highlight=False, markup=False)
    return not left


def add_place(parser: Flags) -> None:
    """Add the flags that say where a study is."""
    parser.add_argument("--root", type=str, default="runs", help="the folder of all studies")
    parser.add_argument("--name", type=str, help="the study's folder in it; default: the study's name. It chooses one of several studies")


def add_cancelling_flags(parser: Flags) -> None:
    """Add the flags of `cancel`."""
    parser.add_argument("--dry_run", action="store_true", help="list the jobs; do nothing")


def add_comparison_flags(parser: Flags) -> None:
    """Add the flags of `compare` to the parser of `seglab compare` or of a script. `Wanted` holds their values."""
    parser.add_argument(
        "--metric",
        help="such as test/miou, test/rare_miou, val/dice, gap/miou, test/iou/CLASS, shift/NAME/miou, cost/seconds; default: the declared one. "
        "Another metric, baseline or margin is exploratory, and has a report of its own",
    )
    parser.add_argument("--classes", action="store_true", help="show each class too, from frequent to rare")
    parser.add_argument("--baseline", help="another arm to compare all others with")
    parser.add_argument(
        "--margin",
        type=float,
        help="largest difference that counts as none, in raw units of the metric; default: the declared one; for another metric 0.005, which is "
        "0.5 points, for a score in [0, 1], and none, so that no arm is called equivalent, for a loss or a cost",
    )
    parser.add_argument("--alpha", type=float, help="largest adjusted p of a verdict; default: the declared one")
    parser.add_argument(
        "--format",
        choices=list(FORMS),
        help="form of the comparison; default: the one that the suffix of --output names, else table, which writes report.html too. json has "
        "every number unrounded",
    )
    parser.add_argument("--output", metavar="FILE", help="write the comparison into this file instead of printing it; replaces the file")


@dataclass(frozen=True)
class Wanted:
    """Values of the flags of `compare`. None takes the value of the study, or of the metric."""

    metric: str | None = None
    baseline: str | None = None
    margin: float | None = None
    classes: bool = False
    alpha: float | None = None
    output: Output = PRINTED

    @classmethod
    def of(cls, given: Given) -> "Wanted":
        """Return the values of parsed flags; raise a ValueError if the file of --output cannot be written."""
        output = Output.chosen(given.format, given.output)
        return cls(given.metric, given.baseline, given.margin, given.classes, given.alpha, output)


def show_comparison(folder: Path, wanted: Wanted, console: Console) -> int:
    """Print or write the comparison of a study; return 1 if there is nothing to compare yet.

    The printed table comes with `report.html`.
    """
    from seglab.compare import analyse, read_folder, write_report  # scipy and numpy: not for `status`
    from seglab.compare.report import report_name

    _existing(folder)
    output = wanted.output
    aside = console if output.plain else Console(stderr=True, width=console.width)  # the output holds nothing but the comparison
    study = read_folder(folder)
    if not study.results and not (readable := read_results(folder))[0]:
        damaged = readable[1]
        aside.print(f"{folder}: {'no readable result' if damaged else 'no finished run yet'}, nothing to compare", highlight=False)
        for problem in damaged:
            aside.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
        return FAILED
    found = analyse(study, study.criteria(wanted.metric, wanted.baseline, wanted.alpha, wanted.margin))
    if output.form != "table":
        deliver(text_of(output.form, found, wanted.classes), output)
        for note in (*found.health, *found.comparison.notes, *found.factor_notes):
            aside.print(f"! {note}", style="yellow", highlight=False, markup=False, soft_wrap=True)
        return DONE
    if output.path is not None:
        written = io.StringIO()
        _print_tables(found, wanted.classes, Console(file=written, width=120))
        deliver(written.getvalue(), output)
        return DONE
    _print_tables(found, wanted.classes, console)
    try:
        console.print(f"report: {write_report(found)}", highlight=False, soft_wrap=True)
    except OSError as error:  # for example another user's folder, or a full disk
        console.print(
            f"no report: {folder / report_name(found.criteria)} cannot be written ({error.strerror})", highlight=False, soft_wrap=True
        )
    return DONE


def _print_tables(found: "Findings", classes: bool, console: Console) -> None:
    from seglab.compare import Metric, classes_to_table, factors_to_table, images_to_table, shifts_to_table, to_table, wording

    console.print(to_table(found.comparison))
    for note in found.health:
        console.print(f"! {note}", style="yellow", highlight=False, markup=False)
    if found.images.intervals:
        console.print("", images_to_table(found.comparison, found.images), sep="\n")
    elif found.comparison.contrasts:
        for problem in found.images.problems:
            console.print(f"no interval for new images: {problem}", style="dim", highlight=False, markup=False)
    if found.factors is not None:
        console.print("", factors_to_table(found.factors), sep="\n")
    else:
        for note in found.factor_notes:
            console.print(f"! {note}", style="yellow", highlight=False, markup=False)
    if (shifted := shifts_to_table(found.comparison)) is not None:
        console.print("", shifted, sep="\n")
    if classes:
        console.print("", classes_to_table(found.compared, Metric(found.criteria.metric.class_split, "iou")), sep="\n")
    if tuned := wording.tuning(found.study.record):
        console.print(tuned, style="dim", highlight=False, markup=False)


def _existing(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; `run` makes it, --root and --name choose another{_meant(folder)}")
    if not _is_study(folder):
        raise ValueError(f"{folder}: holds no study (neither study.json nor runs); --root and --name choose another")


def _meant(folder: Path) -> str:
    """Return a hint at the studies beside a folder that were probably meant, such as `freezing@0.1` for `freezing`."""
    beside = sorted(record.parent.name for record in folder.parent.glob("*/study.json"))
    longer = [name for name in beside if name.startswith(folder.name)][:MOST_MEANT]
    return f" (did you mean --name {' or --name '.join(longer)}?)" if longer else did_you_mean(folder.name, beside)


MOST_MEANT = 3
"""Number of studies that a hint names."""


def _is_study(folder: Path) -> bool:
    return (folder / "study.json").exists() or any(folder.glob("*/seed-*")) or tuning_folder(folder) is not None


def tuning_folder(folder: Path) -> Path | None:
    """Return the folder of a study's tuning runs; None without such runs.

    A study that is named "tuning" is not a folder of tuning runs.
    """
    record = read_record(folder / TUNING)
    return folder / TUNING if record is not None and record.study.endswith(f"-{TUNING}") else None
