"""A script with a study for each data set: which studies a command means, refusals, and one command for all."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from seglab import Study
from seglab.running.plan import Plan
from seglab.script.command_line import parse
from seglab.script.main import main
from seglab.script.parser import parser_of
from seglab.script.request import default_names, plans_of
from tests.study import several_experiment
from tests.study.several_experiment import study

SCRIPT = Path(several_experiment.__file__)


def planned(*words: str, function: Callable[..., Sequence[Study]] = study) -> list[Plan]:
    parser = parser_of(function)
    chosen = parse(parser, ["run", *words])
    return plans_of(function, chosen.run, parser.instantiate(chosen).run)


@pytest.fixture(autouse=True)
def script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])


def said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    with pytest.raises(SystemExit) as ended:
        main(study)
    printed = "".join(capfd.readouterr())
    assert ended.value.code == code, printed
    return printed


def test_each_study_has_its_folder_and_its_data_and_a_worker_of_one_does_that_one() -> None:
    few, many = planned("--many.size", "40,40", "--root", "somewhere")
    assert (few.folder, many.folder) == (Path("somewhere/l2-few"), Path("somewhere/l2-many"))
    assert (few.study.data.size, many.study.data.size) == (None, (40, 40))
    words = many.worker_command()
    (one,) = planned(*words[words.index("work") + 1 :])
    assert (one.study.name, one.folder, one.study.data.size) == ("l2-many", many.folder, (40, 40))
    assert one.runs == many.runs
    assert default_names(study, None) == ["l2-few", "l2-many"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--name", "l2-mani"), r"--name l2-mani: the script has the studies l2-few, l2-many \(did you mean l2-many\?\)"),
        (("--other", "l1"), "the study l2-few has the arms none, l2, and l2-many has none, l1: expected the same arms"),
        (("--setting", "lr=1", "--arm", "l2"), "--setting lr=1: the arms of 'l2-few' are not tuned"),
    ],
)
def test_what_does_not_fit_is_refused(words: Sequence[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planned(*words)


def test_studies_of_one_name_and_no_studies_are_refused() -> None:
    def twice() -> list[Study]:
        return [study()[0], study()[0]]

    def nothing() -> list[Study]:
        return []

    with pytest.raises(ValueError, match="twice returned studies of one name: l2-few, l2-few"):
        planned(function=twice)
    with pytest.raises(ValueError, match="nothing returned an empty list; expected a Study for each data set"):
        planned(function=nothing)


def test_what_is_not_begun_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    root = ("--root", str(tmp_path))
    assert "no such folder" in said(monkeypatch, capfd, "status", *root, code=2)
    (tmp_path / "l2-few" / "none" / "seed-0").mkdir(parents=True)
    printed = said(monkeypatch, capfd, "status", *root)
    assert "0 of 1 runs done" in printed
    assert f"{tmp_path}/l2-many: not begun" in printed.replace("\n", "")
    assert "l2-many: no such folder" in said(monkeypatch, capfd, "compare", *root, code=2)
    assert "retest is for one study: choose one of l2-few, l2-many with --name" in said(
        monkeypatch, capfd, "retest", "--arm", "l2", "--seed", "0", *root, code=2
    )


@pytest.mark.slow
def test_one_command_trains_all_studies_and_compares_them(tmp_path: Path) -> None:
    root = ("--root", str(tmp_path), "--many.size", "40,40")
    done = subprocess.run([sys.executable, str(SCRIPT), "run", *root], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.parents[2].name for path in tmp_path.glob("*/*/*/result.json")} == {"l2-few", "l2-many"}
    assert len(list(tmp_path.glob("*/*/*/result.json"))) == 8
    assert "mean over 2 data sets" in done.stdout.replace("\n", " ")
    assert (tmp_path / "report-sets-l2-few-l2-many.html").is_file()
    again = subprocess.run([sys.executable, str(SCRIPT), "run", *root], capture_output=True, text=True, timeout=1200)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "0 to do" in again.stdout
