"""`run` of a finished study answers before the script imports torch, and then refuses what has changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seglab.script.finished import FILE, record_finished
from tests.study.scripts import SCRIPT

PROBE = "import seglab\nPROBE = print('torch' in __import__('sys').modules)\n"
"""First lines of a script: they say, after what seglab has answered, whether torch was imported for it."""


def script(folder: Path, old: str = "", new: str = "") -> Path:
    """Write the experiment of the tests as a script that seglab understands before it is executed: seglab comes first,
    and only `main` is called.
    """
    text = SCRIPT.read_text().replace("    torch.set_num_threads(1)\n", "").replace("import torch\n", f"{PROBE}import torch\n", 1)
    path = folder / SCRIPT.name
    path.write_text(text.replace(old, new))
    return path


def run(path: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, str(path), "run", *words], cwd=path.parent, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "runs" / "tiny")


def before_torch(out: str) -> str:
    """Return what was printed before the script's own imports."""
    assert "False\n" in out, out
    return out.partition("False\n")[0]


def test_a_change_is_refused_after_the_answer(study: Path) -> None:
    record_finished(study, ["run"])
    code, out, error = run(script(study.parents[1], "strength: float = 1e-3", "strength: float = 2e-3"))
    assert "runs/tiny: 6 runs, all done" in before_torch(out)
    assert "tiny: test mIoU against none" in before_torch(out)
    assert code == 2
    assert "arm l2: regularizer.strength: 0.001 → 0.002" in error, error


@pytest.mark.slow
def test_the_same_command_again_answers_first(study: Path) -> None:
    path = script(study.parents[1])
    (study / FILE).unlink(missing_ok=True)
    code, first, _ = run(path)
    assert (code, before_torch(first)) == (0, "")
    code, out, error = run(path)
    assert (code, error) == (0, "")
    table = first[first.index("tiny: test mIoU") : first.index("report: ")]
    assert table in before_torch(out)
    assert out.count("tiny: test mIoU") == 1
    assert "runs/tiny: 6 runs, 6 done, 0 to do" in out[len(before_torch(out)) :]


@pytest.mark.parametrize("case", ["other words", "a run is missing", "a damaged file"])
def test_in_doubt_it_answers_as_ever(case: str, study: Path) -> None:
    record_finished(study, ["run"])
    words = ["--seeds", "3"] if case == "other words" else ["--bogus"]
    if case == "a run is missing":
        record_finished(study, ["run", *words])
        (study / "l2" / "seed-1" / "result.json").unlink()
    if case == "a damaged file":
        (study / FILE).write_text("{")
    _, out, _ = run(script(study.parents[1], "import torch\n", "END = exit()\n"), *words)
    assert out == "False\n"


@pytest.mark.parametrize(
    ("flag", "value", "change"), [("--strength", "2e-3", "arm l2: regularizer.strength"), ("--epochs", "3", "epochs: 2 → 3")]
)
def test_a_dry_run_of_other_settings_is_refused_too(study: Path, flag: str, value: str, change: str) -> None:
    path = script(study.parents[1])
    code, out, error = run(path, "--dry_run", flag, value)
    assert code == 2
    assert change in error, error
    assert "done" not in out
    assert run(path, "--dry_run")[0] == 0
