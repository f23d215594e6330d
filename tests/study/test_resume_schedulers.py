"""The resume matrix of studies: each scheduler of torch continues exactly, and is refused with other settings."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.schedulers import FEW, SCHEDULERS
from tests.study.attempts import attempt, leftovers, what_counts
from tests.study.scheduled_experiment import BY_EPOCH, named

ARMS = [*map(named, SCHEDULERS), *(f"{named(name)}-by-epoch" for name in BY_EPOCH)]
OFTEN = [*map(named, FEW)]
OTHER = {
    "longer": (("--epochs", 6), "epochs: 4 → 6"),
    "shorter": (("--epochs", 3), "epochs: 4 → 3"),
    "another rate": (("--rate", 0.01), "lr: 0.05 → 0.01"),
}
PLACES = {"at an epoch's end": (10, -signal.SIGKILL), "in a validation": ("10:0", 75), "in the middle": (7, -signal.SIGKILL)}


def script(place: Path, *words: object, **environment: object) -> int:
    return attempt(place, *words, "--wandb", "disabled", experiment="scheduled_experiment", **environment)


def run_of(place: Path, arm: str) -> Path:
    return place / "runs" / "scheduled" / arm / "seed-0"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Uninterrupted runs of all arms."""
    place = tmp_path_factory.mktemp("scheduled")
    assert script(place, "run") == 0, (place / "printed.txt").read_text()
    return place


def interrupted_and_resumed(whole: Path, place: Path, arm: str, where: str) -> None:
    """Interrupt and resume a run, and compare it with the uninterrupted run.

    Before, a resume with each of the other settings is tried and refused.
    """
    step, ending = PLACES[where]
    words = ("--arm", arm, "--seed", 0, "--checkpoint_minutes", 0)
    (place / "runs" / "scheduled").mkdir(parents=True)
    shutil.copy(whole / "runs" / "scheduled" / "study.json", place / "runs" / "scheduled")
    code = script(place, "work", *words, DIE_AT=step, DIE_BY="SIGTERM" if ending == 75 else "SIGKILL")
    printed = place / "printed.txt"
    assert code == ending, printed.read_text()
    checkpoint = (run_of(place, arm) / "checkpoints" / "resume.ckpt").read_bytes()
    for flags, difference in OTHER.values():
        printed.write_text("")
        assert script(place, "run", *words, *flags) == 2, printed.read_text()
        assert difference in printed.read_text()
        assert (run_of(place, arm) / "checkpoints" / "resume.ckpt").read_bytes() == checkpoint
    assert script(place, "work", *words) == 0, printed.read_text()
    ours, theirs = what_counts(run_of(place, arm)), what_counts(run_of(whole, arm))
    for part in ("rows", "result", "weights"):
        assert ours[part] == theirs[part], part
    assert leftovers(place) == []


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("arm", [pytest.param(arm, marks=pytest.mark.slow if arm in OFTEN else pytest.mark.weekly) for arm in ARMS])
def test_goes_on_exactly_or_is_refused(arm: str, where: str, whole: Path, tmp_path: Path) -> None:
    interrupted_and_resumed(whole, tmp_path, arm, where)
