"""Commands that start at once: reading results imports neither torch nor Lightning."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seglab.records import Result, Run, StudyRecord, identity, write_record, write_result
from seglab.script.early import study_name

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "lightning", "jsonargparse", "wandb", "albumentations", "segmentation_models_pytorch", "timm")
RUN = """
import sys
try:
    {code}
except SystemExit as ended:
    if ended.code:
        raise
print("imported", *(name for name in {heavy} if name in sys.modules))
"""


def heavy_imports(code: str, *words: object) -> list[str]:
    """Return the heavy packages that a fresh process has imported after `code`; `words` are its command line."""
    source = RUN.format(code=code, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", source, *map(str, words)], capture_output=True, text=True, check=True)
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "imported"
    return last[1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two arms and three seeds."""
    folder = tmp_path_factory.mktemp("startup") / "drawn"
    record = StudyRecord("drawn", "none", "test/miou", {"epochs": 1}, {"none": {}, "l2": {}})
    for seed in range(3):
        for arm, score in (("none", 0.5), ("l2", 0.6)):
            run = Run("drawn", arm, seed)
            run.directory(folder).mkdir(parents=True)
            test = {"miou": score + seed / 100}
            write_result(
                run.directory(folder) / "result.json",
                Result(run, identity(record, run), ("a", "b"), test, test, {"test": {"iou": (0.5, 0.6)}}, {"seconds": 1.0}, None, "0.1.0"),
            )
    write_record(folder, record)
    return folder


MAIN = "from seglab.cli import main; main()"


def test_importing_seglab_is_free() -> None:
    assert heavy_imports("import seglab") == []


def test_the_end_waits_for_no_collection() -> None:
    """The handler of the test is registered first, so it is called last."""
    code = f"import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0)); {MAIN}"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"


def test_help_is_free() -> None:
    assert heavy_imports(MAIN, "--help") == []


def test_reading_results_is_free(folder: Path) -> None:
    assert heavy_imports(MAIN, "compare", folder) == []
    assert (folder / "report.html").exists()
    assert heavy_imports(MAIN, "status", folder) == []


def example() -> str:
    """The experiment in the README."""
    (code,) = [
        code for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL) if "def study(" in code
    ]
    return str(code)


SCRIPTS = {path.name: path.read_text() for path in sorted(ROOT.glob("experiments/*.py"))} | {"README": example()}


@pytest.mark.parametrize(
    ("name", "verb"), [*((name, "status") for name in SCRIPTS), ("regularization.py", "compare"), ("regularization.py", "cancel")]
)
def test_a_script_answers_before_it_imports_torch(name: str, verb: str, folder: Path, tmp_path: Path) -> None:
    """Read the folder of the script's own study; another test compares its name with that of the built study."""
    study = study_name(written(tmp_path, SCRIPTS[name]))
    assert study is not None
    shutil.copytree(folder, tmp_path / "runs" / study)
    run = f"import runpy; runpy.run_path({str(tmp_path / 'script.py')!r}, run_name='__main__')"
    assert heavy_imports(run, verb, "--root", tmp_path / "runs", *(["--dry-run"] if verb == "cancel" else [])) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_name_in_the_text_is_that_of_the_study(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, SCRIPTS[name])
    code = f"import runpy; print(runpy.run_path({str(path)!r})['study']().name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == study_name(path)


def written(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(text)
    return path


PLAIN = """
from seglab import Study, main
import os
X = 3
def study(x: int = 1) -> Study:
    def arm():
        return 3
    return Study("plain", arms={"a": lambda: arm()})
if __name__ == "__main__":
    main(study)
"""


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("", "", "plain"),
        ('Study("plain", ', 'Study(name="plain", ', "plain"),
        ('    return Study("plain"', '    if x:\n        return Study("plain")\n    return Study("plain"', "plain"),
        ("main(study)", 'main(study, name="other")', "other"),
        ('    return Study("plain"', '    if x:\n        return Study("other")\n    return Study("plain"', None),
        ('    return Study("plain"', '    return changed(Study("plain")) if x else Study("plain"', None),
        ('"plain", ', 'f"plain-{x}", ', None),
        ("X = 3", "os.chdir('/')", None),
        ("X = 3", "if os.environ: os.chdir('/')", None),
        ("X = 3", "Study = print", None),
        ("X = 3", "def Study(*a): ...", None),
        ("X = 3", "from mine import *", None),
        ("X = 3", "study = print", None),
        ("from seglab import Study, main", "from seglab import main\nfrom mine import Study", None),
        ("from seglab import Study, main", "from seglab import Study\nfrom mine import main", None),
        ("def study(", "@changed\ndef study(", None),
        ("def study(", "async def study(", None),
        ("    main(study)", "    os.chdir('/')\n    main(study)", None),
        ("main(study)", "main(other)", None),
        ("main(study)", "main(study, name=X)", None),
        ('    return Study("plain"', '    return\n    return Study("plain"', None),
        ("X = 3", "X = (", None),
    ],
)
def test_in_doubt_the_script_goes_on(old: str, new: str, name: str | None, tmp_path: Path) -> None:
    assert PLAIN.count(old) == 1 or old == ""
    assert study_name(written(tmp_path, PLAIN.replace(old, new, 1))) == name


@pytest.mark.parametrize(
    ("words", "early"),
    [
        (["status"], True),
        (["status", "--bogus"], False),
        *(pytest.param(words, False, marks=pytest.mark.slow) for words in (["compare", "--margin", "x"], ["run"], [])),
    ],
)
def test_what_it_cannot_do_it_leaves_to_main(words: list[str], early: bool, tmp_path: Path) -> None:
    """Then the next line of the script runs."""
    path = written(
        tmp_path, PLAIN.replace("from seglab import Study, main", "import seglab\nprint('goes on')\nfrom seglab import Study, main", 1)
    )
    path.write_text(path.read_text().replace("print('goes on')", "X = print('goes on')"))
    done = subprocess.run([sys.executable, str(path), *words], cwd=tmp_path, capture_output=True, text=True)
    assert ("goes on" in done.stdout) != early, done.stderr
    if early:
        assert (done.returncode, done.stderr) == (
            2,
            "error: runs/plain: no such folder; `run` makes it, --root and --name choose another\n",
        )


@pytest.mark.parametrize(
    ("there", "hint"),
    [
        (["plain@0.1", "other"], " (did you mean --name plain@0.1?)"),
        (["plan"], " (did you mean plan?)"),
        (["other"], ""),
    ],
)
def test_a_study_that_is_not_there_is_not_far(there: list[str], hint: str, tmp_path: Path) -> None:
    """The name of a study may follow from its flags, as `freezing@0.1`; `status` is typed without them."""
    for name in there:
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "study.json").write_text("{}")
    done = subprocess.run([sys.executable, str(written(tmp_path, PLAIN)), "status"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: runs/plain: no such folder; `run` makes it, --root and --name choose another{hint}\n",
    )


@pytest.mark.slow
def test_what_trains_is_not_so_the_look_is_no_blind_one() -> None:
    assert {"torch", "lightning"} <= set(heavy_imports("import seglab.module"))


@pytest.mark.parametrize("word", ["--help", pytest.param("-h", marks=pytest.mark.slow)])
def test_the_list_of_verbs_waits_for_nothing(word: str) -> None:
    script = ROOT / "experiments" / "regularization.py"
    run = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    assert heavy_imports(run, word) == ["jsonargparse"]


@pytest.mark.slow
def test_the_list_of_verbs_is_that_of_main() -> None:
    """The help that `main` prints, where the text of the script leaves a doubt, is the same."""
    script = ROOT / "experiments" / "regularization.py"
    early, late = (
        subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout
        for words in (
            [str(script), "--help"],
            [
                "-c",
                f"import sys; sys.argv[1:] = []; import seglab; sys.argv = [{str(script)!r}, '--help']; import runpy; runpy.run_path({str(script)!r}, run_name='__main__')",
            ],
        )
    )
    assert early == late
    assert "compare" in early


@pytest.mark.slow
def test_the_help_of_a_verb_waits_for_lightning_alone() -> None:
    """Lightning it needs, to know what it is asked for; networks, augmentation and W&B only once it trains."""
    script = ROOT / "experiments" / "regularization.py"
    run = f"import runpy; sys.argv[1:] = ['run', '--help']; runpy.run_path({str(script)!r}, run_name='__main__')"
    assert not {"wandb", "albumentations", "segmentation_models_pytorch", "timm"} & set(heavy_imports(run))
