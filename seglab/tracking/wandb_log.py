"""The log of a run at Weights & Biases: each row of `metrics.csv` once, whatever happens to the run or to W&B."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from seglab.callbacks.sheet import Classes, PredictedImage
from seglab.tracking import tables
from seglab.tracking.artifacts import Kept, log_files, staged_in
from seglab.tracking.reach import check_answers
from seglab.tracking.series import STEP, Row, better, is_of_the_end, rows_of, shown

if TYPE_CHECKING:
    import wandb

log = logging.getLogger("seglab")


class OnceLogger(WandbLogger):
    """A W&B logger that logs each row of `metrics.csv` once, however often a run is resumed (see `ResumableLog`).

    Each row has the number that it has in `metrics.csv`. W&B has the rows up to some number. After an interruption,
    rows below this number are not sent again, and rows that W&B has lost are sent from the text that the checkpoint
    holds.

    An error of W&B never reaches the training: it is logged once, and from then on nothing is sent.

    Args:
        run: the started W&B run.
        directory: folder of the run.
        sent: number of rows that W&B has.
        ended: whether the training is over, so that all rows are scores of the trained network. They are shown as
            values of the run, not as curves of one point.
    """

    def __init__(self, run: "wandb.Run", directory: Path, sent: int, ended: bool = False) -> None:
        super().__init__(experiment=run, save_dir=directory)
        self.run = run
        self.directory = directory
        self.sent = sent
        self.row = 0
        """Number of rows of `metrics.csv` so far, those before the checkpoint of a resumed run included."""
        self.ended = ended
        self.before: dict[str, Any] = {}
        """Values of the run that earlier offline attempts have left. An upload replaces all values of a run by those of
        its last attempt.
        """
        self.problem: str | None = None
        """First error of W&B. Nothing is sent after it."""
        self.concluded = False
        """True if everything of the run was given to W&B."""
        self._logged: set[str] = set()
        """Names of the values that this attempt has sent in rows."""
        self._final: Row = {}
        """Scores of the trained network."""
        self._held: list[tuple[int, Row]] = []
        """Rows after the training, which are sent with the tables, so that W&B never has a part of the end."""
        self._pictures: dict[str, Any] = {}
        self._test: tuple[Sequence[PredictedImage], Classes] | None = None
        self._best: Row = {}

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._take({**metrics, **({} if step is None else {STEP: step})}, self.ended)

    @override
    @rank_zero_only
    def log_hyperparams(self, params: Any, *rest: Any, **named: Any) -> None:
        """Log nothing: the configuration of a run is complete from its start."""

    @override
    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.ended = True

    def log_pictures(self, place: str, pictures: Sequence[PredictedImage], classes: Classes) -> None:
        """Log test pictures with the tables at the end, and validation pictures with the next row."""
        if place == "test":
            self._test = (pictures, classes)
        elif self.row >= self.sent and self.problem is None:
            self._guarded(lambda: self._pictures.update({f"{place}/predictions": tables.images(pictures, classes)}))

    def rows(self) -> None:
        """Return None: this logger keeps no text."""

    def restore(self, rows: str) -> None:
        """Take the rows that were logged before the checkpoint, and send those that W&B has lost."""
        self.row, self._best = 0, {}

        def take() -> None:
            for row in rows_of(rows):
                self._take(row, ended=False)

        self._guarded(take)

    def replay(self, rows: str) -> None:
        """Take all rows of a run that has ended, and send those that W&B has lost."""
        taken = list(rows_of(rows))
        end = len(taken)
        while end and is_of_the_end(taken[end - 1]):
            end -= 1
        for place, row in enumerate(taken):
            self._take(row, ended=place >= end)

    def conclude(self, end: tables.End | None, kept: Kept) -> None:
        """Send the rows after the training, the tables, the summary and the files of a run that has ended.

        Args:
            end: scores of the trained network; None for a training without any.
            kept: the files to keep at W&B.
        """
        if not self.run.offline:
            self._guarded(
                lambda: check_answers(self.run.settings.base_url)
            )  # tables and files would wait for a server that does not answer
        with staged_in(self.directory):
            media = self._tables(end) if self._held and end is not None and self.row > self.sent else {}
            for number, row in self._held:
                self._send(number, row | (media if number == self.row - 1 else {}))
            before = {name: value for name, value in self.before.items() if name not in self._logged}
            scores = {**self._final, **({} if end is None else end.result.numbers), **self._best}
            defined = {name: value for name, value in scores.items() if not math.isnan(value)}
            self._guarded(lambda: self.run.summary.update({**before, **defined}))
            self._guarded(lambda: log_files(self.run, kept))
        self.concluded = True

    def _tables(self, end: tables.End) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._guarded(lambda: found.update(tables.of_end(end)))
        if self._test is not None:
            pictures, classes = self._test
            self._guarded(lambda: found.update({"test/images": tables.image_table(pictures, classes)}))
        return found

    def _take(self, row: Row, ended: bool) -> None:
        """Count a row of `metrics.csv`, and send it if W&B does not have it."""
        number, self.row = self.row, self.row + 1
        if ended:
            self._final |= {name: value for name, value in row.items() if name not in ("epoch", STEP)}
            self._held.append((number, {name: value for name, value in row.items() if name in ("epoch", STEP)}))
            return
        pictures, self._pictures = self._pictures, {}
        self._send(number, shown(row) | pictures)
        if found := better(self._best, row):
            self._best |= found
            if number >= self.sent:
                self._guarded(lambda: self.run.summary.update(found))

    def _send(self, number: int, row: Mapping[str, Any]) -> None:
        if number >= self.sent:
            self._logged |= set(row)
            self._guarded(lambda: self.run.log(dict(row), step=number, commit=True))

    def _guarded(self, act: Any) -> None:
        """Do something with W&B unless it has failed before. Log its error once."""
        if self.problem is not None:
            return
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever W&B raises, the training goes on
            self.problem = " ".join(str(error).split()) or type(error).__name__
            log.warning("W&B failed (%s): the run goes on without it, and `seglab sync` uploads the rest later", self.problem)
