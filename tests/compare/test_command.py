"""`seglab compare`, and its flags in a script."""

import argparse
from pathlib import Path

import jsonargparse
import pytest

from seglab import cli
from seglab.records import StudyRecord
from seglab.script.reading import add_comparison_flags
from tests.compare.drawn import result, write_study

BASE = [0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 0.67]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    results = [result(arm, seed, score + plus) for arm, plus in (("none", 0.0), ("l2", 0.02)) for seed, score in enumerate(BASE)]
    write_study(tmp_path / "study", results, StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l2": {"strength": 1}}))
    return tmp_path / "study"


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = cli.read(list(map(str, words)))
    printed = capsys.readouterr()
    return code, " ".join((printed.out + printed.err).split())


def test_classes_are_shown_if_they_are_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "compare", folder)
    assert (code, "from frequent to rare" in text) == (0, False)
    code, text = said(capsys, "compare", folder, "--classes")
    assert (code, "test IoU in percent" in text, "from frequent to rare" in text) == (0, True, True)
    assert "arm road car" in text
    assert "l2 65.5 65.5" in text


def test_a_loss_has_no_verdict_of_equivalence_unless_a_margin_is_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unlike = "No arm is called equivalent: val loss has no margin, unless --margin gives one."
    assert unlike in said(capsys, "compare", folder, "--metric", "val/loss")[1]
    assert unlike in (folder / "report-val-loss.html").read_text()
    code, text = said(capsys, "compare", folder, "--metric", "val/loss", "--margin", "0.5")
    assert (code, unlike in text, "Equivalent: within ±0.5; ≈ marks" in text) == (0, False, True)
    assert unlike not in (folder / "report-val-loss-margin-0.5.html").read_text()
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--metric", "miou"), "error: metric 'miou': expected SPLIT/SCORE, or SPLIT/SCORE/CLASS for one class, such as test/miou"),
        (("--metric", "test/beauty"), "error: unknown metric 'test/beauty': study/none/s0 has cost/exact_zeros"),
        (("--margin", "0"), "error: margin 0.0: expected a number above 0, in raw units of test/miou"),
        (("--baseline", "l3"), "error: the baseline 'l3' has no results: the arms with results are none, l2"),
    ],
)
def test_bad_input(folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: str) -> None:
    code, text = said(capsys, "compare", folder, *words)
    assert code == 2
    assert text.startswith(expected)
    assert not (folder / "report.html").exists()


def test_a_script_parses_the_flags_of_the_command() -> None:
    words = ["--metric", "val/loss", "--margin", "1e-2", "--baseline", "l2", "--classes"]
    expected = {"metric": "val/loss", "margin": 0.01, "baseline": "l2", "classes": True}
    for parser in (argparse.ArgumentParser(), jsonargparse.ArgumentParser(exit_on_error=False)):
        add_comparison_flags(parser)
        assert {name: value for name, value in vars(parser.parse_args(words)).items() if name in expected} == expected
        empty = vars(parser.parse_args([]))
        assert (empty["metric"], empty["margin"], empty["baseline"], empty["classes"]) == (None, None, None, False)


@pytest.mark.parametrize("arms", [("none",), ("none", "l2")])
def test_damaged_results_are_named_where_too_few_are_left_to_compare(
    arms: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name them: as "no finished run" or "no results", they would be looked for in the wrong place."""
    damaged = [path for arm in arms for path in folder.glob(f"{arm}/seed-*/result.json")]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:100])
    code, text = said(capsys, "compare", folder)
    assert code == (2 if arms == ("none",) else 1)
    assert ("no readable result" if code == 1 else "the baseline 'none' has no results") in text
    assert all(f"{path}: damaged (not JSON" in text for path in damaged)
