"""`seglab test FOLDER` and `seglab validate FOLDER`: evaluate the weights in a run's folder again. No torch."""

import subprocess
from pathlib import Path
from typing import Literal

import yaml

from seglab.cluster.command import words_here

Verb = Literal["test", "validate"]


def fit_arguments(folder: Path, verb: Verb) -> list[str] | None:
    """Return the arguments of `seglab` that evaluate a training of `seglab fit`; None for another command's folder.

    Raises:
        ValueError: the folder has no checkpoint.
    """
    if not (folder / "config.yaml").is_file():
        return None
    weights = folder / "checkpoints" / "last.ckpt"
    if not weights.is_file():
        raise ValueError(f"{weights}: no such file; `seglab {verb}` evaluates the last weights of a training")
    return [verb, "--config", str(folder / "config.yaml"), "--ckpt_path", str(weights)]


def evaluate_run(folder: Path, verb: Verb) -> int:
    """Evaluate the weights of a study's run by its script, and return the exit code.

    Raises:
        ValueError: the folder is not a run's folder, or the recorded command names a script that does not exist.
    """
    words = _recorded_command(folder)
    if words[0] == "python" and words[1] != "-m" and not Path(words[1]).exists():
        raise ValueError(f"{words[1]}: no such file; the run was started by this script: go to the folder from which it was started")
    words[words.index("run")] = "retest"
    return subprocess.run([*words_here(words), "--split", "test" if verb == "test" else "val"]).returncode


def _recorded_command(folder: Path) -> list[str]:
    """Return the command that repeats a run, from `settings.yaml` in its folder."""
    path = folder / "settings.yaml"
    if not path.is_file():
        raise ValueError(
            f"{folder}: is no folder of a run; expected that of a study's run, such as runs/regularization/none/seed-0 (with settings.yaml), "
            "or of a fit, such as runs/fit/version_0 (with config.yaml)"
        )
    try:
        words = [str(word) for word in yaml.safe_load(path.read_text(encoding="utf-8"))["command"]]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({' '.join(str(error).split())}); the run has to be repeated to test it again") from None
    if "run" not in words:
        raise ValueError(f"{path}: damaged (its command does not run a study); the run has to be repeated to test it again")
    return words
