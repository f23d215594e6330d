"""The local logs of a run at W&B."""

from pathlib import Path

from seglab.transaction_log import read_contents


def logs(directory: Path, run_id: str, kind: str) -> list[Path]:
    """Return the local logs of a run in the order of their start.

    Args:
        directory: folder of the run.
        run_id: id of the run at W&B.
        kind: `offline-run` or `run`, as W&B names the folders of offline and of online attempts.
    """
    # W&B adds -1, -2 … to the folders of attempts that start within one second
    return sorted((directory / "wandb").glob(f"{kind}-[0-9]*_[0-9]*-{run_id}*/run-{run_id}.wandb"))


def mark_uploaded(log: Path) -> None:
    """Mark a log so that `wandb sync` skips it, because its rows are logged elsewhere."""
    log.with_name(f"{log.name}.synced").touch()


def is_uploaded(log: Path) -> bool:
    """Return whether `wandb sync` would skip a log."""
    return log.with_name(f"{log.name}.synced").exists()


def is_whole(log: Path) -> bool:
    """Return whether a log can be read up to the end of its run.

    The client of W&B does not tell if it could not write, as on a full disk.
    """
    try:
        contents = read_contents(log)
    except (OSError, ValueError):
        return False
    return contents.is_whole and contents.has_ended
