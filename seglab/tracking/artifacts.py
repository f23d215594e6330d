"""Keep files of a run at W&B: its record, and its weights if the user asks for them."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import wandb

RECORD = ("settings.yaml", "config.yaml", "result.json", "environment.json", "metrics.csv", "log.txt")
"""Files of a run's record, as far as its folder has them."""

DIFF = "diff.patch"
"""Changes of tracked files since the commit, in the record."""


@dataclass(frozen=True)
class Kept:
    """Files of a run to keep at W&B."""

    directory: Path
    """Folder of the run."""
    aliases: Sequence[str] = ()
    """Names of this version of the weights."""
    model: Path | None = None
    """Checkpoint of the trained weights; None keeps no weights."""
    diff: bool = True
    """True if the record has the changes of tracked files that are not committed."""


@contextlib.contextmanager
def staged_in(directory: Path) -> Iterator[None]:
    """Keep files of tables and artifacts in the run's folder, not in the user's home, until they are uploaded."""
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = str((directory / "wandb" / "data").absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
        else:
            os.environ["WANDB_DATA_DIR"] = before


def log_files(run: "wandb.Run", kept: Kept) -> None:
    """Log the artifact `run-record-<id>`, and `model-<id>` if the weights are to be kept."""
    import wandb

    record = wandb.Artifact(f"run-record-{run.id}", type="run-record")
    folder = kept.directory.absolute() / "wandb" / "record"  # copies, because an offline log names its files and `log.txt` goes on
    folder.mkdir(parents=True, exist_ok=True)
    for name in RECORD:
        if (kept.directory / name).is_file():
            shutil.copyfile(kept.directory / name, folder / name)
            record.add_file(str(folder / name), policy="immutable")
    if kept.diff and (changes := _changes()):
        (folder / DIFF).write_bytes(changes)
        record.add_file(str(folder / DIFF), policy="immutable")
    run.log_artifact(record)
    if kept.model is not None and kept.model.is_file():
        model = wandb.Artifact(f"model-{run.id}", type="model")
        model.add_file(str(kept.model.absolute()), policy="immutable")
        for name in RECORD[:2]:
            if (folder / name).is_file():
                model.add_file(str(folder / name), policy="immutable")
        run.log_artifact(model, aliases=["final", *kept.aliases])


def _changes() -> bytes:
    """Return the diff of the tracked files in the working directory against their commit; empty outside of git."""
    try:
        return subprocess.run(["git", "diff", "HEAD"], capture_output=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return b""
