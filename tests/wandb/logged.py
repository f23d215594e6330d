"""A process that logs one run as a training does: `python logged.py FOLDER MODE`. It may be killed, and go on.

Environment: `DIE_AT` is the row at which it kills itself, `SAVE_AT` the row at which it saves a checkpoint, `PAUSE` the
seconds between rows.

`python logged.py` alone starts such processes, and `wandb sync`: see `forks.py`.
"""

import os
import signal
import sys
import time
from pathlib import Path

from wandb.cli.cli import cli

from seglab.tracking import CSVLog, Described, Kept, conclude, finish, loggers
from seglab.tracking.wandb_log import OnceLogger
from tests.wandb.forks import words_of_a_child

ROWS = 30


def log_run(folder: Path, mode: str) -> None:
    """Log `ROWS` rows, every fifth with a score of the validation, from the checkpoint on if there is one."""
    described = Described("s/a/s0", "s/a", "final", {"study": "s", "arm": "a", "command": "c", "folder": "f"}, folder, "s-a-s0-00000000")
    began = time.perf_counter()
    made = loggers(described, mode)  # type: ignore[arg-type]
    table = made[0]
    assert isinstance(table, CSVLog)
    saved = folder / "saved.csv"
    begin = 0
    if saved.exists():
        for logger in made:
            if isinstance(logger, CSVLog | OnceLogger):
                logger.restore(saved.read_text())
        begin = max(0, len(saved.read_text().splitlines()) - 1)  # it may have been saved before the first row, without a header
    print("started", time.perf_counter() - began, flush=True)
    began = time.perf_counter()
    for row in range(begin, ROWS):
        if os.environ.get("SAVE_AT") == str(row):
            saved.write_text(table.rows())
        if os.environ.get("DIE_AT") == str(row):
            os.kill(os.getpid(), getattr(signal, os.environ.get("DIE_BY", "SIGKILL")))
        values = {"train/loss": 1 / (row + 3), "stage/head/lr": 0.1} if row % 5 else {"val/miou": (row * 7 % 30) / 31}
        for logger in made:
            logger.log_metrics(values, step=10 * row)
        time.sleep(float(os.environ.get("PAUSE", "0")))
    for logger in made:
        logger.finalize("success")
    print("logged", time.perf_counter() - began, flush=True)
    conclude(made, None, Kept(folder, diff=False))
    (folder / "result.txt").write_text("done")
    began = time.perf_counter()
    finish()
    print("finished", time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    words = sys.argv[1:] or words_of_a_child()
    if words[:1] == ["sync"]:
        cli(words, prog_name="wandb")
    elif words:
        log_run(Path(words[0]), words[1])
