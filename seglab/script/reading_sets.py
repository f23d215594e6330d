"""`seglab compare` of several folders: one statement over their data sets. No torch."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from seglab.exit_codes import DONE
from seglab.script.output import deliver
from seglab.script.reading import Wanted, study_folders

if TYPE_CHECKING:
    from seglab.compare.sets.answer import OverSets


def show_sets(paths: Sequence[Path], wanted: Wanted, console: Console) -> int:
    """Print or write the comparison over the data sets of several studies. The printed table comes with a page beside the first folder.

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
    from seglab.compare.sets import words
    from seglab.compare.sets.table import sets_to_table

    console.print(sets_to_table(found), "", sep="\n")
    for arm in found.arms:
        console.print(words.sentence(arm, found), highlight=False, markup=False)


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
