"""The command line of `seglab audit`. torch is imported only once the flags are parsed."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from jsonargparse import ArgumentParser, set_parsing_settings
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from seglab.exit_codes import BAD_INPUT, DONE, FAILED
from seglab.script.command_line import parse
from seglab.script.errors import exit_code
from seglab.script.help import Help

if TYPE_CHECKING:
    from seglab.data.audit.audit import Report
    from seglab.data.audit.bare import Bare
    from seglab.data.audit.finding import Audited, Finding

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def main(words: Sequence[str]) -> NoReturn:
    """Audit a data set and exit: 0 nothing worse than notes, 1 warnings, 2 errors or bad input, 75 interrupted."""
    sys.path.insert(0, str(Path.cwd()))  # a user's own classes, by import path from the working directory
    sys.exit(exit_code(lambda: audit_command(words), resumes=False))


def audit_command(words: Sequence[str]) -> int:
    """Audit the folder or the source that words name, print the findings, write the page and return an exit code.

    Raises:
        ValueError: the command line cannot be used, or the folder has no images and masks.
        OSError: the page cannot be written.
    """
    folders, flags = _divided(words)
    given = parse(_parser(), flags)
    of_data = any(word.startswith("--data.") for word in flags)
    if len(folders) > 1 and not of_data:
        raise ValueError(f"one folder at a time: {', '.join(folders)}")
    if bool(folders) == of_data:
        raise ValueError(
            "name a folder, as in seglab audit D, or a data set by its flags, as in seglab audit --data.source CamVid --data.source.root D"
            + (f"; not both: {folders[0]}" if of_data else "")
        )
    page = _page(Path(given.output))
    console = Console(width=None if sys.stdout.isatty() else 120)
    return _of_folder(Path(folders[0]), page, console) if folders else _of_source(flags, page, console)


def _divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words that are no flags or their values, and the others. Every flag has a value, but for help."""
    folders: list[str] = []
    flags: list[str] = []
    for word in words:
        awaited = bool(flags) and flags[-1].startswith("--") and "=" not in flags[-1] and not flags[-1].endswith("--help")
        (flags if word.startswith("-") or awaited else folders).append(word)
    return folders, flags


def _page(page: Path) -> Path:
    if page.suffix.lower() not in (".html", ".htm") or not page.parent.is_dir() or page.is_dir():
        raise ValueError(f"--output: {page} is no .html file in an existing folder")
    return page


def _parser() -> ArgumentParser:
    from seglab.data import SegmentationDataModule, Shapes

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(
        prog="seglab audit [D]",
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=Help,
        description="Look for mistakes in a data set: a folder D, whose layout is guessed, or a source by its --data flags. Prints the "
        "findings, and for a folder the flags that read it. Exit codes: 0 nothing worse than notes, 1 warnings, 2 training would be wrong.",
    )
    parser.add_argument("--output", type=str, default="audit.html", help="the page with all findings and pictures")
    parser.add_class_arguments(SegmentationDataModule, "data")
    parser.set_defaults({"data.source": Shapes()})
    return parser


def _of_folder(folder: Path, page: Path, console: Console) -> int:
    """Audit a folder of which only its path is known."""
    from seglab.data.audit.audit import Report, worst_first
    from seglab.data.audit.bare import Bare, class_rows

    bare = Bare.of(folder)
    console.print(f"images {bare.found.images}, masks {bare.found.masks}", highlight=False, markup=False, soft_wrap=True)
    seen = _audited(bare.audited, console)
    looks = seen.survey.looks
    table = _class_table(page, class_rows(looks))
    readable = bare.is_readable(looks, table)
    found = _findings_of_flags(bare.flags(looks, table), seen, console) if readable else seen.findings
    report = Report(seen.audited, seen.survey, worst_first([*bare.pairing(), *bare.meaning(looks), *found]))
    command = _command(bare, report, table) if readable else ""
    code = _shown(folder.name or str(folder), report, page, command, console)
    if table is not None:
        console.print(f"write the names of the classes into {table}", highlight=False, markup=False, soft_wrap=True)
    if command:
        console.print(
            f"to train on it{', once the errors are mended' if code == BAD_INPUT else ''}:\n{command}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return code


def _class_table(page: Path, rows: str | None) -> Path | None:
    """Write a table of the colours of masks beside the page, unless there is one, which may have names by now.

    Return its path.
    """
    from seglab.files import atomic_write

    if rows is None:
        return None
    table = page.with_name(f"{page.stem}-classes.csv").absolute()
    if not table.exists():
        with atomic_write(table) as stream:
            stream.write(rows.encode())
    return table


def _of_source(flags: Sequence[str], page: Path, console: Console) -> int:
    """Audit a source that flags describe. If it cannot be opened, audit its folder."""
    try:
        audited, title = _source(flags)
    except ValueError as error:
        raise ValueError(f"{error}. `seglab audit D` with the folder alone looks at its files one by one") from error
    return _shown(title, _audited(audited, console), page, "", console)


def _source(flags: Sequence[str]) -> "tuple[Audited, str]":
    """Return the data set that flags describe, and the name of its source.

    Raises:
        ValueError: a flag is wrong, or the source cannot be opened.
    """
    from seglab.data import SPLITS, SegmentationDataModule
    from seglab.data.audit.source import audited_source

    parser = _parser()
    data: SegmentationDataModule = parser.instantiate(parse(parser, flags)).data
    audited = audited_source({split: data.used(split) for split in SPLITS}, data.class_names)
    return audited, type(data.declared_source).__name__


def _findings_of_flags(flags: Sequence[str], folder: "Report", console: Console) -> "tuple[Finding, ...]":
    """Return the findings on a folder as flags read it.

    The samples are read again only if flags read them otherwise than the audit of the folder did.

    Args:
        flags: the flags that the audit proposes.
        folder: the audit of the folder's files.
        console: where the progress is shown.
    """
    from seglab.data.audit.audit import report_on, with_findings_of_source, worst_first
    from seglab.data.audit.finding import Finding

    try:
        audited, _ = _source(flags)
    except ValueError as error:
        what, _, remedy = str(error).rpartition(": ")
        return worst_first([Finding("error", "the command below cannot open the data", what, remedy), *folder.findings])
    same = audited.image_files == folder.audited.image_files and audited.mask_files == folder.audited.mask_files
    plain = not any(look.faults or look.labels.keys() - range(len(audited.class_names or ())) for look in folder.survey.looks)
    source = report_on(audited, folder.survey) if same and plain else _audited(audited, console)
    return with_findings_of_source(folder, source)


def _audited(audited: "Audited", console: Console) -> "Report":
    """Audit a data set under a progress bar."""
    from seglab.data.audit.audit import audit

    columns = (TextColumn("looking at the samples"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        return audit(audited, lambda done, total: bar.update(task, completed=done, total=total))


def _command(bare: "Bare", report: "Report", table: Path | None) -> str:
    """Return a command line that trains on a folder."""
    looks = report.survey.looks
    network = ["--model.network", "seglab.network", "--model.network.encoder", "resnet18"]
    network += ["--model.network.num_classes", str(bare.num_classes(looks))]
    return shlex.join(["seglab", "fit", *network, *bare.flags(looks, table), *bare.loading(looks)])


def _shown(title: str, report: "Report", page: Path, command: str, console: Console) -> int:
    """Print the findings, write the page, and return the exit code."""
    from seglab.data import default_palette
    from seglab.data.audit.finding import SEVERITIES, number
    from seglab.data.audit.page import write_page

    if report.findings:
        console.print(findings_table(report.findings))
    write_page(page, title, report, command, default_palette(256))
    counts = {severity: sum(finding.severity == severity for finding in report.findings) for severity in SEVERITIES}
    words = ", ".join(number(count, severity) for severity, count in counts.items())
    samples = number(len(report.survey.looks), "sample")
    console.print(f"{samples}: {words}; pictures in {page}", highlight=False, markup=False, soft_wrap=True)
    return BAD_INPUT if counts["error"] else FAILED if counts["warning"] else DONE


def findings_table(findings: "Sequence[Finding]") -> Table:
    """Return a table of findings for the terminal."""
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("", "finding", "what to do"):
        table.add_column(heading, no_wrap=heading == "", ratio=None if heading == "" else 3 if heading == "finding" else 2)
    for finding in findings:
        what = Text(finding.title, style="bold")
        what.append(f"\n{finding.what}", style="not bold")
        if finding.files:
            more = f" and {len(finding.files) - 1} more" if len(finding.files) > 1 else ""
            what.append(f"\n{finding.files[0]}{more}", style="not bold dim")
        table.add_row(Text(finding.severity, style=STYLES[finding.severity]), what, Text(finding.remedy))
    return table
