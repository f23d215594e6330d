"""Errors in a user's own code: one line says what, in which arm and in which line of which file; nothing is written."""

import re
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from seglab.interruption import SIGNALS
from seglab.script.main import main
from tests.study.test_bad_input import snapshot

SCRIPT = """
from collections.abc import Callable
from dataclasses import dataclass
from seglab import CrossEntropy, Sample, SegmentationDataModule, SegmentationModule, SegmentationSource, Shapes, Study, main
import torch
from torch import nn

SHAPES = Shapes(num_train=4, num_val=4, num_test=4, image_size=32)

class Images:
    class_names, num_classes = ("a", "b"), 2
    def __len__(self): return 4
    def __getitem__(self, index):
        {sample}

@dataclass(frozen=True)
class Own(SegmentationSource):
    size: int = 8
    class_names = ("a", "b")
    def __post_init__(self):
        {source}
    def split(self, name):
        {split}

class Loss(CrossEntropy):
    def __init__(self):
        {loss}
        super().__init__()

def study(data: SegmentationDataModule = SegmentationDataModule(SHAPES, batch_size=4, num_workers=0), loss: Callable[[], nn.Module] = Loss) -> Study:
    module = lambda: SegmentationModule(nn.Conv2d(3, data.num_classes, 1), loss(), num_classes=data.num_classes)
    def arm():
        {arm}
    {study}
    return Study("own", data=data, epochs=1, seeds=range(1), baseline="first", arms={arms})

if __name__ == "__main__":
    main(study)
"""
FINE = {
    "sample": "return Sample(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.uint8), str(index))",
    "source": "pass",
    "split": "return Images()",
    "loss": "pass",
    "arm": "return module()",
    "study": "pass",
    "arms": '{"first": module, "second": arm}',
}
OWN = ("--data.source", "own_script.Own")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in. Temporary files go to another."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *SIGNALS)}
    for folder in (tmp_path / "here", tmp_path / "temporary"):
        folder.mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    yield tmp_path / "here"
    for number, handler in before.items():
        signal.signal(number, handler)
    for module in ("own_script", "broken"):
        sys.modules.pop(module, None)


def run(place: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], **changed: str) -> object:
    """Run the script with `changed` parts in this process as `python own_script.py run` does; return its exit code."""
    text = SCRIPT
    for part, code in {**FINE, **changed}.items():
        text = text.replace(f"{{{part}}}", code)
    (place / "own_script.py").write_text(text)
    monkeypatch.setattr(sys, "argv", ["own_script.py", "run", *words])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path("own_script.py", run_name="__main__")
    return ended.value.code


def line_of(place: Path, code: str) -> int:
    (number,) = [place + 1 for place, line in enumerate((place / "own_script.py").read_text().splitlines()) if line.strip() == code]
    return number


KEY = '{}["key"]'
ACCIDENTS = [
    ("study", KEY, (), "KeyError: 'key'", "study"),
    ("study", 'int("x")', (), "ValueError: invalid literal for int() with base 10: 'x'", "study"),
    ("study", "import nowhere_at_all", (), "ModuleNotFoundError: No module named 'nowhere_at_all'", "study"),
    ("study", 'open("nowhere/at/all")', (), "FileNotFoundError: nowhere/at/all: No such file or directory", "study"),
    ("study", "return torch.zeros(2) + torch.zeros(3)", (), "RuntimeError: The size of tensor a (2) must match", "study"),
    ("arm", KEY, (), "arm second: KeyError: 'key'", "arm"),
    ("arm", 'int("x")', (), "arm second: ValueError: invalid literal", "arm"),
    ("arm", "return SegmentationModule(nn.Conv2d(3, 4, 1))", (), "arm second: TypeError: SegmentationModule.__init__() missing", "arm"),
    ("loss", KEY, (), "--loss __main__.Loss: KeyError: 'key'", "__init__"),
    ("loss", KEY, ("--loss", "own_script.Loss"), "--loss own_script.Loss: KeyError: 'key'", "__init__"),
    ("source", KEY, OWN, "KeyError: 'key'", "__post_init__"),
    ("split", KEY, OWN, "KeyError: 'key'", "split"),
    ("sample", KEY, OWN, "sample 0 of Images: KeyError: 'key'", "__getitem__"),
    ("sample", 'int("x")', OWN, "sample 0 of Images: ValueError: invalid literal", "__getitem__"),
    (
        "sample",
        f"return {FINE['sample'].removeprefix('return ')} if index != 1 else {KEY}",
        OWN,
        "sample 1 of Images: KeyError",
        "__getitem__",
    ),
]


@pytest.mark.parametrize(("part", "code", "words", "said", "function"), ACCIDENTS)
def test_an_accident_names_its_place_and_a_file_with_its_traceback(
    part: str,
    code: str,
    words: tuple[str, ...],
    said: str,
    function: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(place, monkeypatch, words, **{part: code}) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err
    assert said in err
    assert f"(own_script.py:{line_of(place, code)}, in {function}): correct it there; the traceback is in " in err
    traceback = Path(err.split()[-1]).read_text()
    assert traceback.startswith("Traceback (most recent call last):")
    assert code in traceback
    assert list(snapshot(place)) == [place / "own_script.py"], "something was written"


MISTAKES = [
    ("study", "return None", (), ("study returned None; expected a Study; does it lack a return?",)),
    ("study", "return 3", (), ("study returned a int; expected a Study",)),
    ("study", 'raise ValueError("--size 3: too small")', (), ("error: --size 3: too small\n",)),
    (
        "arm",
        "return None",
        (),
        ("arm second: its function returned None; expected a SegmentationModule; does the function lack a return?",),
    ),
    ("arm", "return nn.Conv2d(3, 4, 1)", (), ("arm second: its function returned a Conv2d; expected a SegmentationModule",)),
    ("arm", 'raise ValueError("the strength is -1")', (), ("error: arm second: the strength is -1\n",)),
    ("arms", '{"first": module()}', (), ("arm first: is a SegmentationModule; expected a function", "lambda: SegmentationModule(...)")),
    ("arms", '{"first": None}', (), ("arm first: is a NoneType; expected a function",)),
    ("sample", "return None", OWN, ("sample 0 of Images is None; expected a seglab.Sample(image, mask, name)", "__getitem__")),
    ("sample", "return (torch.zeros(3, 8, 8), None)", OWN, ("sample 0 of Images is (Tensor, NoneType); expected a seglab.Sample",)),
    (
        "sample",
        'return Sample([1], torch.zeros(8, 8, dtype=torch.uint8), "0")',
        OWN,
        ("sample 0 of Images is (list, Tensor, str); expected",),
    ),
    ("split", "return None", OWN, ("Own.split('train') returned None; expected a SegmentationDataset",)),
    ("split", "return [1, 2]", OWN, ("Own.split('train') returned a list; expected a SegmentationDataset",)),
]


@pytest.mark.parametrize(("part", "code", "words", "expected"), MISTAKES)
def test_a_mistake_that_can_be_foreseen_is_explained(
    part: str,
    code: str,
    words: tuple[str, ...],
    expected: tuple[str, ...],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(place, monkeypatch, words, **{part: code}) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err
    for text in expected:
        assert text in err
    assert list(snapshot(place)) == [place / "own_script.py"], "something was written"
    assert list(Path(tempfile.gettempdir()).iterdir()) == [], "a traceback"


def test_a_source_without_class_names(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "broken.py").write_text(
        "from dataclasses import dataclass\nfrom seglab import SegmentationSource\n\n"
        "@dataclass(frozen=True)\nclass Nameless(SegmentationSource):\n    def split(self, name): ...\n"
    )
    assert run(place, monkeypatch, ("--data.source", "broken.Nameless")) == 2
    assert capfd.readouterr().err.startswith("error: Nameless has no class_names: write the names of its classes")


@pytest.mark.parametrize("flag", ["--loss", "--data.source"])
def test_a_syntax_error_in_a_module_that_a_flag_names(
    flag: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (place / "broken.py").write_text("x = 1\ndef f(:\n")
    assert run(place, monkeypatch, (flag, "broken.Thing")) == 2
    expected = f"error: {flag}: broken cannot be imported: SyntaxError: invalid syntax (broken.py, line 2)\n"
    assert capfd.readouterr().err == expected


BEFORE_MAIN = {
    "source": (
        "@dataclass(frozen=True)\nclass Nameless(SegmentationSource):\n    def split(self, name): ...\n\n"
        "def study(data: SegmentationDataModule = SegmentationDataModule(Nameless())) -> Study: ...",
        "error: Nameless has no class_names: write the names of its classes",
    ),
    "syntax": ("import broken", "error: SyntaxError: invalid syntax (broken.py, line 2) (own_script.py:3, in <module>): correct it there"),
    "missing": ("import nowhere_at_all", "error: ModuleNotFoundError: No module named 'nowhere_at_all' (own_script.py:3, in <module>)"),
    "interrupted": ("raise KeyboardInterrupt", "interrupted; the same command again goes on\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("case", "verb"), [*((case, "run") for case in BEFORE_MAIN), ("source", "launch")])
def test_an_error_before_main_is_called(place: Path, case: str, verb: str) -> None:
    """In a module that the script imports, or in the default of a parameter."""
    code, expected = BEFORE_MAIN[case]
    (place / "broken.py").write_text("x = 1\ndef f(:\n")
    imports = "from dataclasses import dataclass\nfrom seglab import SegmentationDataModule, SegmentationSource, Study, main\n"
    (place / "own_script.py").write_text(f"{imports}{code}\n\nmain(study)\n")
    command = [sys.executable, "-B", "own_script.py", verb]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300)
    assert done.returncode == (75 if case == "interrupted" else 2), done.stderr
    assert done.stderr.startswith(expected)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_script_of_another_kind_keeps_its_traceback(place: Path) -> None:
    (place / "tool.py").write_text("import seglab\n\n{}['key']\n")
    done = subprocess.run([sys.executable, "-B", "tool.py", "run"], cwd=place, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")


def test_a_study_in_place_of_its_function_is_named(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["own_script.py", "run"])
    with pytest.raises(SystemExit) as ended:
        main(())  # type: ignore[arg-type]
    assert ended.value.code == 2
    assert (
        capfd.readouterr().err == "error: main got a tuple; expected the function that returns it: write main(study), not main(study())\n"
    )


def test_an_error_in_seglab_itself_is_a_defect_with_a_code_of_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from seglab.script.errors import exit_code

    def fails() -> int:
        raise error

    error = KeyError("inside")
    assert exit_code(lambda: {"outside": 0}["inside"]) == 2, "this file is the user's"
    capfd.readouterr()
    monkeypatch.setattr("seglab.script.errors.is_own_file", lambda file: False)
    assert exit_code(fails) == 70
    said = re.fullmatch(
        r"error: KeyError: 'inside'; seglab did not expect this: please report it with the traceback in (\S+)\n", capfd.readouterr().err
    )
    assert said is not None
    assert "KeyError: 'inside'" in Path(said[1]).read_text()


@pytest.mark.parametrize(("words", "asked"), [(("--wandb", "online"), "--wandb online"), ((), "WANDB_MODE=online")])
def test_online_without_a_key(
    words: tuple[str, ...], asked: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("NETRC", str(place / "no-netrc"))
    assert run(place, monkeypatch, words) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"error: {asked}: nobody is logged in to Weights & Biases")
    assert "`wandb login` or set WANDB_API_KEY" in err
    assert list(snapshot(place)) == [place / "own_script.py"], "something was written"
