"""End of a command `seglab fit`, `test` or `validate`: its exit code, its last lines, and what it leaves behind."""

import contextlib
import shlex
import shutil
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException

from seglab import tracking
from seglab.callbacks import NonFiniteLossError
from seglab.callbacks.lightning_internals import kill_launched_ranks
from seglab.exit_codes import DONE, FAILED, INTERRUPTED
from seglab.fitting.keeper import FitCheckpoints
from seglab.interruption import Interruption
from seglab.script.errors import explained
from seglab.tracking.config import Phase


@dataclass
class Attempt:
    """One command, from its start to its end."""

    interruption: Interruption
    verb: Phase = "fit"
    folder: Path | None = None
    """The folder that this process has made for it."""
    trainer: L.Trainer | None = None
    keeper: FitCheckpoints | None = None
    end: tracking.End | None = None
    """Scores of an evaluation."""

    @property
    def begun(self) -> bool:
        """Return whether a step of training was done, so that the folder is worth keeping."""
        return self.keeper is not None and self.keeper.begun

    @property
    def leads(self) -> bool:
        """Return whether this process is the first rank, which speaks for all."""
        return self.trainer is None or self.trainer.is_global_zero

    def done(self) -> int:
        """Say where the results are. Return the exit code."""
        if self.leads and self.folder is not None and self.trainer is not None:
            tracking.conclude(self.trainer.loggers, self.end, tracking.Kept(self.folder))
        tracking.finish()
        if self.leads and self.folder is not None:
            for line in self._results():
                print(line)
        return DONE

    def interrupted(self) -> int:
        """Say how to go on. Return the exit code."""
        if self.trainer is not None:
            kill_launched_ranks(self.trainer)
        self._tidy_up()
        if not self.leads:
            return DONE  # Lightning kills the first rank when another one ends with any other code
        print(f"interrupted{self._how_to_go_on()}", file=sys.stderr)
        return INTERRUPTED

    def failed(self, error: Exception) -> int:
        """Say in one line what was wrong, and where the traceback is if the line cannot tell all.

        Return the exit code.
        """
        if self.interruption.asked:  # the signal may have ended processes that this one needs
            return self.interrupted()
        if self.trainer is not None:
            kill_launched_ranks(self.trainer)
        self._tidy_up()
        if isinstance(error, NonFiniteLossError):
            print(f"failed: {error}", file=sys.stderr)
            return FAILED
        if isinstance(error, MisconfigurationException):
            error = ValueError(str(error))
        line, code = explained(error, self._keep_traceback)
        print(f"{'failed' if self.begun else 'error'}: {line}", file=sys.stderr)
        return FAILED if self.begun else code

    def _results(self) -> list[str]:
        assert self.folder is not None
        if self.verb != "fit":
            return [f"scores: {self.folder / 'metrics.csv'}"]
        keeper = self.keeper
        if keeper is None or keeper.folder is None:
            return [f"results: {self.folder}"]
        best = "no validation, so no best.ckpt" if keeper.best is None else "best.ckpt: val/miou {:.4f} after step {}".format(*keeper.best)
        last = self.trainer.global_step if self.trainer is not None else 0
        return [
            f"results: {self.folder} (metrics.csv; checkpoints/last.ckpt: step {last}; {best})",
            f"next: seglab test {shlex.quote(str(self.folder))}",
        ]

    def _how_to_go_on(self) -> str:
        if self.verb != "fit" or not self.begun or self.folder is None:
            return "; the same command again starts anew" if self.verb == "fit" else ""
        words = ["seglab", "fit", "--config", str(self.folder / "config.yaml")]
        saved = [path for name in ("last.ckpt", "best.ckpt") if (path := self.folder / "checkpoints" / name).is_file()]
        if not saved:
            return f" before a checkpoint was saved; to begin again: {shlex.join(words)}"
        return f"; to go on: {shlex.join([*words, '--ckpt_path', str(saved[0])])}"

    def _tidy_up(self) -> None:
        """End the W&B run, and delete the folder if nothing was trained: what was refused leaves nothing behind."""
        tracking.finish()
        if self.folder is not None and not self.begun:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # the folders above go too if they are empty
                self.folder.parent.rmdir()
                self.folder.parent.parent.rmdir()

    def _keep_traceback(self, error: Exception) -> str:
        """Write an error's traceback into the fit's folder, else into a temporary one, and return the file's path."""
        if self.folder is not None and self.folder.is_dir():
            path = self.folder / "failure.txt"
        else:
            path = Path(tempfile.mkdtemp(prefix="seglab-")) / "failure.txt"
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return str(path)
