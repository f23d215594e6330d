"""`seglab check` as a researcher meets it: their own file, typing errors, Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from seglab import cli
from seglab.checking.main import parsed

MINE = '''
import time

import torch
from torch import nn
from seglab.losses.ranks import ratio_over_ranks


class SquaredError(nn.Module):
    def __init__(self, gamma: float = 1.0, start=0, *, mode: str = "all"):
        """Squared error of probabilities.

        Args:
            gamma: what it is multiplied with.
        """
        super().__init__()
        if gamma <= 0:
            raise ValueError(f"gamma must be positive, got {gamma}")
        self.gamma = gamma
        self.of = lambda value: value * gamma

    def forward(self, logits, mask):
        valid = mask != 255
        truth = nn.functional.one_hot(mask.where(valid, 0), logits.shape[1]).movedim(-1, 1)
        return ratio_over_ranks(self.of(((logits.float().softmax(1) - truth) ** 2).sum(1) * valid).sum(), valid.sum())


class Vector(nn.Module):
    def forward(self, logits, mask):
        return logits.flatten(1).sum(1)


class Needs(SquaredError):
    def __init__(self, num_classes: int, scale):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, logits, mask):
        assert logits.shape[1] == self.num_classes
        return super().forward(logits, mask)


class Own(SquaredError):
    def __init__(self, classes: list[int] | None = None):
        super().__init__()


class Hangs(SquaredError):
    def forward(self, logits, mask):
        if torch.distributed.is_initialized():
            open("started", "w").close()
            time.sleep(60)
        return super().forward(logits, mask)


class NoModule:
    pass


def function(logits, mask):
    return logits.sum()


instance = SquaredError()
'''


class Ended(NamedTuple):
    code: object
    out: str
    err: str


Check = Callable[..., Ended]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Check:
    """The command, in this process and in a folder with a file of losses."""
    (tmp_path / "mine_checked.py").write_text(MINE)
    (tmp_path / "broken_checked.py").write_text("import torch\nclass Loss(torch.nn.Module)\n    pass\n")
    (tmp_path / "lacking_checked.py").write_text("import nothing_of_this_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["seglab", "check", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        for name in [name for name in sys.modules if name.endswith("_checked")]:
            del sys.modules[name]
        return Ended(ended.value.code, *capfd.readouterr())

    return run


def words_of(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.slow
def test_a_right_loss_of_ones_own(check: Check) -> None:
    ended = check("mine_checked.SquaredError", "--gamma", "2", "--classes", "4")
    assert ended.code == 0, ended
    assert ended.err == ""
    assert "mine_checked.SquaredError --gamma 2 --classes 4, 4 classes" in ended.out
    assert len(re.findall("^✓", ended.out, re.MULTILINE)) == 13
    assert len(re.findall("^–  cost .* × cross-entropy", ended.out, re.MULTILINE)) == 1
    assert "✗" not in ended.out
    assert ended.out.endswith("nothing failed\n")


def test_a_wrong_one(check: Check) -> None:
    ended = check("mine_checked.Vector")
    assert ended.code == 1, ended
    assert "✗  a number with a gradient" in ended.out
    assert "a tensor of shape (2,)" in words_of(ended.out)
    assert "A loss turns logits (N,C,H,W)" in words_of(ended.out)
    assert ended.out.endswith("1 failed, 13 not tried\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("name the loss first", "seglab check my_file.MyLoss --gamma 2")),
        (["--classes", "3"], ("name the loss first",)),
        (["mine_checked.SquaredErorr"], ("mine_checked has no class 'SquaredErorr'", "did you mean mine_checked.SquaredError?")),
        (["minee.SquaredError"], ("there is no module 'minee'", "working directory")),
        (["mine_checked.sub.SquaredError"], ("there is no module 'mine_checked.sub'",)),
        (["SquaredError"], ("'SquaredError' is no import path",)),
        (["Dice"], ("did you mean seglab.losses.Dice?",)),
        (["mine_checked.py"], ("mine_checked has no class 'py'",)),
        (["./mine_checked.SquaredError"], ("is no import path",)),
        (["broken_checked.Loss"], ("broken_checked cannot be imported: SyntaxError", "line 2")),
        (["lacking_checked.Loss"], ("lacking_checked cannot be imported", "nothing_of_this_name")),
        (["mine_checked.NoModule"], ("is no torch.nn.Module", "class NoModule(nn.Module)")),
        (["mine_checked.function"], ("is a function", "write a class")),
        (["mine_checked.instance"], ("is a SquaredError", "write a class")),
        (["mine_checked.SquaredError", "--gama", "2"], ("--gama", "--help")),
        (["mine_checked.SquaredError", "--gamma", "x"], ("--gamma: expected float, got x",)),
        (["mine_checked.SquaredError", "--gamma", "-1"], ("mine_checked.SquaredError: gamma must be positive, got -1.0",)),
        (["mine_checked.SquaredError", "stray"], ("stray", "--help")),
        (["mine_checked.SquaredError", "--classes", "x"], ("--classes: expected int, got x",)),
        (["mine_checked.SquaredError", "--classes", "0"], ("--classes 0: must be 1 to 255",)),
        (["mine_checked.Needs"], ("num_classes",)),
        (["mine_checked.Needs", "--num_classes", "3"], ("mine_checked.Needs needs scale, as in --scale VALUE",)),
        (["seglab.losses.Dice", "--absent", "penalise"], ("--absent: expected one of 'skip', 'penalize', got penalise",)),
        (["seglab.losses.Dice", "--smooth", "-1"], ("seglab.losses.Dice: smooth must be",)),
        (["seglab.losses.WeightedSum"], ("--losses NAMES", "--weights VALUE")),
    ],
)
def test_bad_input_is_one_line(check: Check, words: list[str], expected: tuple[str, ...]) -> None:
    ended = check(*words)
    assert ended.code == 2, ended
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1, ended.err
    for part in expected:
        assert part in ended.err


def test_a_loss_with_classes_of_its_own() -> None:
    """Then the flag is the loss's; its number, if it is one, is what it is tried with as well."""
    assert parsed(["segmentation_models_pytorch.losses.DiceLoss", "--mode", "multiclass", "--classes", "[0,1]"]).classes == 3
    request = parsed(
        ["torch.nn.AdaptiveLogSoftmaxWithLoss", "--in_features", "8", "--n_classes", "9", "--cutoffs", "[2]", "--classes", "4"]
    )
    assert request.classes == 4
    assert "classes" not in request.arguments


def test_help(check: Check) -> None:
    ended = check("--help")
    assert (ended.code, ended.err) == (0, "")
    assert "usage: seglab check LOSS" in ended.out
    assert "--classes" in ended.out
    of_a_loss = check("mine_checked.SquaredError", "--help")
    assert of_a_loss.code == 0
    assert "what it is multiplied with" in of_a_loss.out
    assert "--classes" in of_a_loss.out


@pytest.mark.slow
def test_ctrl_c_ends_it_with_all_its_processes(check: Check, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from seglab.cli import main; main()", "check", "mine_checked.Hangs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_until((tmp_path / "started").exists)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 75, (out, err)
    assert err == "interrupted\n"
    assert "✓  half precision" in out
    wait_until(lambda: not alive(process.pid))


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def alive(group: int) -> bool:
    """Return whether a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
