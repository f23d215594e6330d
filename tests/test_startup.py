"""What starts at once: reading results imports neither torch nor Lightning."""

import subprocess
import sys
from pathlib import Path

import pytest

from seglab.records import Result, Run, StudyRecord, identity, write_record, write_result

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
    """Which heavy packages a fresh process has imported after `code`; `words` are its command line."""
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


def test_help_is_free() -> None:
    assert heavy_imports(MAIN, "--help") == []


def test_reading_results_is_free(folder: Path) -> None:
    assert heavy_imports(MAIN, "compare", folder) == []
    assert (folder / "report.html").exists()
    assert heavy_imports(MAIN, "status", folder) == []


@pytest.mark.slow
def test_what_trains_is_not_so_the_look_is_no_blind_one() -> None:
    assert {"torch", "lightning"} <= set(heavy_imports("import seglab.module"))


@pytest.mark.slow
def test_the_help_of_an_experiment_waits_for_lightning_alone() -> None:
    """Lightning it needs, to know what it is asked for; networks, augmentation and W&B only once it trains."""
    script = ROOT / "experiments" / "regularization.py"
    run = f"import runpy; sys.argv[1:] = ['--help']; runpy.run_path({str(script)!r}, run_name='__main__')"
    assert not {"wandb", "albumentations", "segmentation_models_pytorch", "timm"} & set(heavy_imports(run))
