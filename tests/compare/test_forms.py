"""A comparison as JSON, CSV, LaTeX and Markdown, by `seglab compare --format` and from Python."""

import csv
import dataclasses
import io
import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from seglab import cli
from seglab.compare import analyse, read_comparison, read_document, read_folder, to_csv, to_json, to_latex
from seglab.compare.forms.latex import escape, findings_to_latex
from seglab.compare.numbers.contrasts import Contrast
from seglab.compare.unit import PERCENT, PLAIN, SECONDS
from seglab.records import StudyRecord
from tests.compare.drawn import result, study, write_study

NASTY = ("$\\frac{1}% & #_^~", '[a] -- *b | <c> "d" ‖×·α²', "é")
ARMS = ("none+full", "l2+full", "none+frozen", "NaN+frozen")
BASE = (0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    results = [
        result(arm, seed, score + 0.01 * place + 0.003 * (seed * place % 3), classes=NASTY)
        for place, arm in enumerate(ARMS)
        for seed, score in enumerate(BASE[: 5 + place])
    ]
    shared = {"epochs": 3, "note": 'a, "b"'}
    record = StudyRecord("study", ARMS[0], "test/miou", shared, {arm: {"arm": arm} for arm in ARMS}, factors=("penalty", "schedule"))
    write_study(tmp_path / "study", results, record)
    return tmp_path / "study"


def printed(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.read(list(map(str, words)))
    said = capfd.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("metric", ["test/miou", "val/loss", "cost/seconds"])
def test_json_reads_back_as_the_same_comparison(folder: Path, tmp_path: Path, metric: str) -> None:
    """The comparison has an arm called NaN, NaN and infinite numbers, and no margin.

    A spread of one value is NaN, and an interval of few pairs is infinite.
    """
    read = read_folder(folder)
    found = analyse(read, read.criteria(metric=metric))
    path = tmp_path / "comparison.json"
    path.write_text(to_json(found), encoding="utf-8")
    assert repr(read_comparison(path)) == repr(found.comparison)  # as NaN != NaN
    document = read_document(path)
    assert repr((document.factors, document.classes, document.record)) == repr((found.factors, found.classes, found.study.record))
    assert (document.notes, document.health, document.runs) == (found.notes, found.health, 25)
    assert (document.versions, document.commits, document.metric) == (("0.1.0",), ("abc",), metric)
    assert any(math.isinf(contrast.low) for contrast in found.comparison.contrasts)
    strict = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert strict["comparison"]["contrasts"][0]["low"] == "-Infinity"


def test_json_has_every_digit(folder: Path, tmp_path: Path) -> None:
    found = analyse(read_folder(folder))
    plain = json.loads(to_json(found))
    assert plain["comparison"]["arms"][1]["scores"]["3"] == found.study.results[0].test["miou"] + 0.03 + 0.01
    assert [contrast["p"] for contrast in plain["comparison"]["contrasts"]] == [contrast.p for contrast in found.comparison.contrasts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read (No such file"),
        ("{", "is not JSON"),
        ("[1]", "is no comparison (Expected `object`, got `array`)"),
        ('{"form": "seglab comparison", "schema": 99, "version": "9.9"}', "was written by seglab 9.9, which is newer"),
        ('{"study": "a study.json", "schema": 99, "version": "9.9"}', "is no comparison"),
        ('{"form": "something else"}', "is no comparison"),
    ],
)
def test_a_file_that_is_no_comparison_is_named(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "other.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {expected}")):
        read_comparison(path)


def test_csv_has_a_row_for_each_arm_in_raw_units(folder: Path) -> None:
    comparison = analyse(read_folder(folder)).comparison
    text = to_csv(comparison)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["arm"] for row in rows] == [arm.arm for arm in comparison.arms]
    names = [field.name for field in dataclasses.fields(Contrast) if field.name != "arm"]
    assert set(names) <= set(rows[0])
    header = text.splitlines()[0].split(",")
    assert len(header) == len(set(header))
    assert all(rows[0][name] == "" for name in names)
    contrast, arm = comparison.contrasts[1], comparison.arms[2]
    assert [float(rows[2][name]) for name in ("mean", "sd", "difference", "p_holm")] == [
        arm.score.mean,
        arm.score.sd,
        contrast.difference,
        contrast.p_holm,
    ]
    assert rows[2]["seeds"] == "0 1 2 3 4"
    assert float(rows[2]["test/dice"]) == arm.secondary["test/dice"].mean
    assert float(rows[2]["test/dice sd"]) == arm.secondary["test/dice"].sd


def test_latex_prints_text_as_it_is() -> None:
    assert escape("a_b & 100 % of {x} #1 $2") == r"a\_b \& 100 \% of \{x\} \#1 \$2"
    assert escape("~^\\") == r"\textasciitilde{}\textasciicircum{}\textbackslash{}"
    assert escape("−1.2 ±0.5 ≈ α ‖w‖² a--b – c") == r"$-$1.2 $\pm$0.5 $\approx$ $\alpha$ $\Vert$w$\Vert$$^2$ a-{}-b -- c"


def test_latex_table_has_caption_label_and_balanced_rows(folder: Path) -> None:
    comparison = analyse(read_folder(folder)).comparison
    text = to_latex(comparison)
    assert r"\label{tab:study}" in text
    assert "One training run is one observation" in text
    assert r"$\pm$ standard deviation over n seeds" in text
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(comparison.arms)
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    assert not re.findall(r"(?<!\\)[%#_]", body)


LONG = ("none", "decoupled-l2+gradual-unfreezing-from-the-head", "group-lasso+surgical_last,lr=1e-3")


def latex_of_long_names(tmp_path: Path) -> str:
    """Tables of arms and classes with long names, of which one run has diverged."""
    classes = ("road", "construction vehicle", "bicycle_lane-marking")
    results = [
        result(arm, seed, 0.6 + 0.01 * seed + 0.003 * (seed * k % 3), classes=classes) for k, arm in enumerate(LONG) for seed in range(8)
    ]
    write_study(tmp_path / "long", results, StudyRecord("study", "none", "test/miou", {}, {arm: {"arm": arm} for arm in LONG}))
    gone = tmp_path / "long" / "none" / "seed-9"
    gone.mkdir()
    (gone / "failure.json").write_text('{"error": "NonFiniteLossError: the loss is NaN"}')
    return findings_to_latex(analyse(read_folder(tmp_path / "long")), classes=True)


def test_long_names_are_broken_into_lines_in_latex(tmp_path: Path, folder: Path) -> None:
    text = latex_of_long_names(tmp_path)
    (main, classes) = re.findall(r"begin\{tabular\}\{@\{\}(.*)@\{\}\}", text)
    assert re.fullmatch(r"p\{\d+pt\}rrrrrrlrr", main)
    assert re.fullmatch(r"(l|p\{\d+pt\}){2}rrrrr", classes)
    assert r"\raggedright decoupled-\allowbreak{}l2+\allowbreak{}gradual-\allowbreak{}unfreezing" in text
    assert r"surgical\_\allowbreak{}last,\allowbreak{}lr=\allowbreak{}1e-\allowbreak{}3 &" in text
    assert r"\begin{tabular}{@{}lrrrrrlrr@{}}" in to_latex(analyse(read_folder(folder)).comparison), "short names stay in one line"


def latex_of_many_classes(tmp_path: Path) -> str:
    """A table of 4 × 30 classes, more than a page holds."""
    classes = tuple(f"class {number:02}" for number in range(30))
    arms = ("none", "a", "b", "c", "d")
    results = [
        result(arm, seed, 0.6 + 0.01 * seed + 0.003 * (seed * k % 3), classes=classes) for k, arm in enumerate(arms) for seed in range(4)
    ]
    write_study(tmp_path / "many", results, StudyRecord("many", "none", "test/miou", {}, {arm: {"arm": arm} for arm in arms}))
    return findings_to_latex(analyse(read_folder(tmp_path / "many")), classes=True)


def test_a_table_that_is_longer_than_a_page_goes_on_in_latex(tmp_path: Path) -> None:
    """A page would cut a table off at its end. The parts have one number, and each has the headers."""
    _, _, first, *others = latex_of_many_classes(tmp_path).split(r"\begin{table}")
    rows = [re.findall(r"^    (class \d\d) & (\w) &", part, re.MULTILINE) for part in (first, *others)]
    assert [row for part in rows for row in part] == [(f"class {number:02}", arm) for arm in "abcd" for number in range(30)]
    assert max(map(len, rows)) <= 40
    assert all(part.count("    class & arm & ") == 1 for part in (first, *others))
    assert first.count(r"\label{tab:study-classes}") == 1
    assert all(part.count(r"\addtocounter{table}{-1}") == part.count(r"\caption{(continued)}") == 1 for part in others)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_and_fits_the_page(folder: Path, tmp_path: Path) -> None:
    text = findings_to_latex(analyse(read_folder(folder)), classes=True)
    assert text.count(r"\begin{table}") == 3
    text += latex_of_long_names(tmp_path) + latex_of_many_classes(tmp_path)
    whole = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n" + text + "\\end{document}\n"
    (tmp_path / "paper.tex").write_text(whole, encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert "Missing character" not in ended.stdout
    assert "Float too large" not in ended.stdout
    assert "Overfull" not in ended.stdout, [line for line in ended.stdout.splitlines() if "Overfull" in line]


def test_each_form_is_printed_alone(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Notes are on stderr, and only the table writes a report."""
    (folder / "l2+full" / "seed-99").mkdir()
    for form, start in (
        ("json", '{\n "form": "seglab comparison"'),
        ("csv", "study,metric,baseline,arm,exploratory,amendments,n,"),
        ("latex", "% seglab"),
    ):
        code, out, err = printed(capfd, "compare", folder, "--format", form)
        assert (code, out.startswith(start)) == (0, True), out
        assert "! l2+full: seed 99 has not finished" in err
        assert "report" not in out.splitlines()[-1]
    json.loads(printed(capfd, "compare", folder, "--format", "json")[1])
    code, out, _ = printed(capfd, "compare", folder, "--format", "markdown", "--classes")
    assert code == 0
    assert out.startswith("**study**: test mIoU against none+full")
    assert all(text in out for text in ("penalty × schedule", "of each class", "- One training run is one observation"))
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "start"), [("a.json", "{"), ("a.csv", "study,"), ("a.tex", "% seglab"), ("a.md", "**study**"), ("a.txt", "study:")]
)
def test_the_suffix_of_the_output_gives_the_form(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, start: str
) -> None:
    target = tmp_path / name
    target.write_text("of yesterday")
    code, out, _ = printed(capfd, "compare", folder, "--output", target)
    assert code == 0
    assert out.strip().endswith(f": {target}")
    assert target.read_text(encoding="utf-8").startswith(start)
    assert not (folder / "report.html").exists()


def test_an_output_that_is_a_link_or_a_pipe_stays_one(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """For root, a rename would put a file in the place of `/dev/stdout`, for all processes of the machine."""
    real, link, pipe, record = (tmp_path / name for name in ("real.csv", "link.csv", "pipe.csv", "record.json"))
    link.symlink_to(real)
    code, expected, _ = printed(capfd, "compare", folder, "--format", "csv")
    for before in (None, "old"):
        if before is not None:
            real.write_text(before)
        assert (code, printed(capfd, "compare", folder, "--output", link)[1]) == (0, f"csv: {link}\n")
        assert (link.is_symlink(), real.read_text(encoding="utf-8")) == (True, expected)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert printed(capfd, "compare", folder, "--output", pipe)[:2] == (0, "")
    assert (pipe.is_fifo(), os.read(reader, 1 << 16).decode()) == (True, expected)
    os.close(reader)
    record.symlink_to(folder / "study.json")
    code, _, err = printed(capfd, "compare", folder, "--output", record)
    assert (code, "study.json is the name of a record of seglab" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--output", "absent/a.json"), "--output absent/a.json: there is no folder absent; create it, or name a file in another folder"),
        (("--output", "."), "--output .: is a folder; name a file in it, such as comparison.txt"),
        (("--output", "study/study.json"), "study.json is the name of a record of seglab; choose another name"),
        (
            ("--output", "study/report.html"),
            "study/report.html: no form is HTML; expected a name that ends in .txt, .md, .csv, .json or .tex",
        ),
        (("--output", "report.HTM", "--format", "json"), "--output report.HTM: no form is HTML"),
        (("--output", "study/none+full/seed-0/log.txt"), "study/none+full/seed-0, whose files seglab writes; choose another folder"),
        (("--output", "study/wandb_report.json"), "wandb_report.json is the name of a record of seglab"),
        (("--output", "differences.pdf"), "no form has the suffix .pdf; expected .txt, .md, .csv, .json or .tex, or add --format"),
        (("--alpha", "2"), "alpha 2.0: expected a number above 0 and below 0.5"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(folder.parent)
    before = (folder / "study.json").read_bytes()
    code, out, err = printed(capfd, "compare", "study", *words)
    assert (code, out) == (2, "")
    assert expected in err
    assert (folder / "study.json").read_bytes() == before


def test_several_studies_are_one_file_each(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_study(folder.parent / "other", study({"a": [0.5]}), StudyRecord("study", "a", "test/miou", {}, {"a": {}}))
    code, _, err = printed(capfd, "compare", folder.parent, "--format", "json")
    assert code == 2
    assert "holds several studies; --format and --output take one" in err


def test_a_study_without_results_prints_nothing_on_stdout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a" / "seed-0").mkdir(parents=True)
    code, out, err = printed(capfd, "compare", tmp_path, "--format", "json")
    assert (code, out) == (1, "")
    assert "no finished run yet" in err


def test_alpha_changes_verdicts(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    strict = json.loads(printed(capfd, "compare", folder, "--format", "json", "--alpha", "0.001")[1])
    assert strict["comparison"]["criteria"]["alpha"] == 0.001
    assert {contrast["verdict"] for contrast in strict["comparison"]["contrasts"]} == {"no verdict"}


@pytest.mark.parametrize(
    ("mean", "sd", "expected"),
    [
        (0.6321, 0.0045, "63.21 ±0.45"),
        (0.26012, 0.01503, "26.0 ±1.5"),
        (0.2927, 0.06052, "29.3 ±6.1"),
        (0.5, 0.000999, "50.00 ±0.10"),
        (0.5, 0.0996, "50 ±10"),
        (0.5, 0.2, "50 ±20"),
        (0.5, 0.0, "50.00 ±0.00"),
        (0.5, 1e-12, "50.0000000 ±0.0000000"),
        (-0.0187, 0.0123, "−1.9 ±1.2"),
        (0.5, math.nan, "50.00"),
        (math.nan, 0.1, "– ±10.00"),
    ],
)
def test_a_standard_deviation_has_two_significant_digits(mean: float, sd: float, expected: str) -> None:
    assert PERCENT.mean_and_sd(mean, sd) == expected


def test_units_without_decimals_follow_the_same_rule() -> None:
    assert (SECONDS.mean_and_sd(26.01, 1.503), SECONDS.mean_and_sd(31.2, 3.114), SECONDS.mean_and_sd(1234.5, 321.0)) == (
        "26.0 ±1.5",
        "31.2 ±3.1",
        "1230 ±320",
    )
    assert PLAIN.mean_and_sd(0.0412, 0.000318) == "0.04120 ±0.00032"


def test_one_seed_has_a_nan_that_reads_back(tmp_path: Path) -> None:
    write_study(tmp_path / "one", study({"a": [0.5], "b": [0.6]}), StudyRecord("study", "a", "test/miou", {}, {"a": {}, "b": {}}))
    found = analyse(read_folder(tmp_path / "one"))
    path = tmp_path / "one.json"
    path.write_text(to_json(found))
    assert math.isnan(read_comparison(path).arms[0].score.sd)
    assert repr(read_comparison(path)) == repr(found.comparison)
