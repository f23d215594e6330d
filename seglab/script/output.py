"""The forms in which `compare` prints a comparison or writes it into a file."""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seglab.records import write_text

if TYPE_CHECKING:
    from seglab.compare import Findings

FORMS = {"table": ".txt", "markdown": ".md", "csv": ".csv", "json": ".json", "latex": ".tex"}
"""Suffix of a file of each form. An --output with this suffix has this form, if --format is not given."""

RECORDS = (
    "study.json",
    "result.json",
    "metrics.csv",
    "choice.json",
    "finished.json",
    "failure.json",
    "environment.json",
    "dashboard.json",
    "wandb_report.json",
)
"""Names of files of a study, which no output may replace. All other files of a run are in the run's folder,
`seed-N`.
"""


@dataclass(frozen=True)
class Output:
    """Form of a comparison, and the file into which it is written.

    Raises:
        ValueError: the folder of the file does not exist, or the file is a folder, a page in HTML, or a file that
            seglab writes itself.
    """

    form: str = "table"
    path: Path | None = None
    """None prints the comparison."""

    def __post_init__(self) -> None:
        if self.path is None:
            return
        if self.path.is_dir():
            raise ValueError(
                f"--output {self.path}: is a folder; name a file in it, such as {self.path / ('comparison' + FORMS[self.form])}"
            )
        if not self.path.parent.is_dir():
            raise ValueError(f"--output {self.path}: there is no folder {self.path.parent}; create it, or name a file in another folder")
        if (name := self.path.resolve().name) in RECORDS:
            raise ValueError(f"--output {self.path}: {name} is the name of a record of seglab; choose another name")
        if self.path.suffix.lower() in (".html", ".htm"):
            raise ValueError(
                f"--output {self.path}: no form is HTML; expected a name that ends in {_listed(FORMS.values())}. Without --output and --format, "
                "`compare` writes report.html into the folder of the study"
            )
        if run := next((place for place in self.path.resolve().parents if re.fullmatch(r"seed-\d+", place.name)), None):
            raise ValueError(f"--output {self.path}: is in the folder of a run, {run}, whose files seglab writes; choose another folder")

    @classmethod
    def chosen(cls, form: str | None, path: str | None) -> "Output":
        """Return the output that the flags --format and --output ask for.

        Without --format the suffix of the file gives the form.

        Raises:
            ValueError: --format is not given and no form has the suffix of the file, or see `Output`.
        """
        target = None if path is None else Path(path)
        if form is not None or target is None or not target.suffix:
            return cls("table" if form is None else form, target)
        by_suffix = {own: name for name, own in FORMS.items()}
        output = cls(by_suffix.get(target.suffix.lower(), "table"), target)
        if target.suffix.lower() not in by_suffix:
            raise ValueError(
                f"--output {target}: no form has the suffix {target.suffix}; expected {_listed(FORMS.values())}, or add --format"
            )
        return output

    @property
    def plain(self) -> bool:
        """Return whether the output is the usual one: the table, printed."""
        return self == PRINTED


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"


PRINTED = Output()
"""The table, printed."""


def text_of(form: str, found: "Findings", classes: bool) -> str:
    """Return a comparison in a form of `FORMS` except `table`.

    `classes` adds the classes to Markdown and LaTeX; JSON always has them.
    """
    from seglab.compare.forms import document, latex, markdown, spreadsheet

    if form == "json":
        return document.to_json(found)
    if form == "csv":
        record = found.study.record
        return spreadsheet.to_csv(found.comparison, None if record is None else len(record.amendments))
    return latex.findings_to_latex(found, classes) if form == "latex" else markdown.findings_to_markdown(found, classes)


def deliver(text: str, output: Output) -> None:
    """Print a text, or write it into its file, whole or not at all.

    A file of this name is replaced, or the file to which a link of this name leads.

    Raises:
        OSError: the file cannot be written.
    """
    if output.path is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    if output.path.exists() and not output.path.is_file():  # a pipe, such as /dev/stdout
        write_text(output.path, text)
        return
    write_text(output.path.resolve(), text)
    print(f"{output.form}: {output.path}")
