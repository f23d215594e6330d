"""Several studies at once: `compare` as one statement over their data sets, `status` and `cancel` of each. No torch."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from seglab.exit_codes import DONE
from seglab.script.output import deliver
from seglab.script.reading import Given, Wanted, read, study_folders, terminal

if TYPE_CHECKING:
    from seglab.compare.sets.answer import OverSets


def read_all(verb: str, names: Sequence[str], given: Given) -> int:
    """Do a verb of `READING` on all studies of a script."""
    folders = [Path(given.root) / name for name in names]
    if verb == "compare":
        return show_sets(folders, Wanted.of(given), terminal())
    begun = [folder for folder in folders if folder.is_dir()]
    codes = [read(verb, folder.name, given) for folder in (begun if begun else folders)]
    for folder in folders:
        if folder not in begun:
            terminal().print(f"{folder}: not begun", highlight=False)
    return max(codes)


def show_sets(paths: Sequence[Path], wanted: Wanted, console: Console) -> int:
    """Print or write the comparison over the data sets of several studies.

    The printed table comes with a page beside the first folder.

    Raises:
        ValueError: a folder is not one study, or the studies do not belong together.
    """
    from seglab.compare.sets.folders import analyse_sets, read_sets

    if wanted.classes:
        raise ValueError("--classes: data sets have other classes; compare one folder to see its classes")
    studies = read_sets([_one_study(path) for path in paths])
    flags = (wanted.metric, wanted.baseline, wanted.alpha, wanted.margin)
    found = analyse_sets(studies, [study.criteria(*flags) for study in studies])
    output = wanted.output
    if output.form != "table":
        aside = console if output.plain else Console(stderr=True, width=console.width)
        deliver(_text(output.form, found), output)
        for note in found.notes:
            aside.print(f"! {note}", style="yellow", highlight=False, markup=False, soft_wrap=True)
        return DONE
    if output.path is not None:
        written = io.StringIO()
        _print(found, Console(file=written, width=120))
        deliver(written.getvalue(), output)
        return DONE
    _print(found, console)
    _write_page(found, paths[0].resolve().parent, console)
    return DONE


def _one_study(path: Path) -> Path:
    if (found := study_folders(path)) == [path]:
        return path
    raise ValueError(f"{path}: holds several studies; name the folder of one study for each data set, such as {found[0]}")


def _print(found: "OverSets", console: Console) -> None:
    from seglab.compare.sets import wording
    from seglab.compare.sets.table import sets_to_table

    console.print(sets_to_table(found), "", sep="\n")
    for arm in found.arms:
        console.print(wording.sentence(arm, found), highlight=False, markup=False)


def _write_page(found: "OverSets", folder: Path, console: Console) -> None:
    from seglab.compare.sets.page import write_sets_page

    try:
        line = f"report: {write_sets_page(found, folder)}"
    except OSError as error:  # for example another user's folder, or a full disk
        line = f"no report: it cannot be written into {folder} ({error.strerror})"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _text(form: str, found: "OverSets") -> str:
    from seglab.compare.sets import forms
    from seglab.compare.sets.table import sets_to_markdown

    if form == "markdown":
        return sets_to_markdown(found)
    return {"json": forms.sets_to_json, "csv": forms.sets_to_csv, "latex": forms.sets_to_latex}[form](found)
