"""The log of a run as a table."""

import csv
import warnings
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger

from seglab.callbacks.lightning_internals import csv_path, set_csv_columns
from seglab.records import write_text


class CSVLog(CSVLogger):
    """Lightning's CSV logger for `<directory>/metrics.csv`; a resumed training continues the file (see `ResumableLog`).

    Args:
        directory: the run's folder.
    """

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Experiment logs directory")
            super().__init__(directory, name="", version="", flush_logs_every_n_steps=50)
            assert self.experiment is not None  # makes the writer now, within the filter

    def rows(self) -> str:
        """Return the text of `metrics.csv` with everything logged so far."""
        self.save()
        path = Path(csv_path(self))
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def restore(self, rows: str) -> None:
        """Replace the text of `metrics.csv`, and append further rows to it."""
        if rows:
            write_text(Path(csv_path(self)), rows)
            set_csv_columns(self, next(csv.reader(rows.splitlines())))
