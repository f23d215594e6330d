"""The interface to a log of runs beside `metrics.csv`. A `Tracker` makes the Lightning logger of each run."""

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from seglab.callbacks.sheet import Classes, PredictedImage
from seglab.tracking import tables
from seglab.tracking.config import Described
from seglab.tracking.series import STEP, rows_of


class Tracker(ABC):
    """A place where runs are logged. Subclasses are frozen dataclasses; their fields are the flags `--logger.FIELD`.

    A logger that also has `log_pictures(place, pictures, classes)` gets the pictures of validations and of the test.
    """

    @abstractmethod
    def check(self) -> None:
        """Raise a ValueError if this machine cannot log there. It is called once, before the first run starts."""

    @abstractmethod
    def logger(self, described: Described) -> Logger:
        """Return the logger of one run. An interrupted run asks for it again when it continues."""


@dataclass(frozen=True)
class TensorBoard(Tracker):
    """Logs each run for TensorBoard, into `tensorboard/` in the folder of the run."""

    def check(self) -> None:
        """Raise a ValueError if no package can write for TensorBoard."""
        if not any(importlib.util.find_spec(name) for name in ("tensorboard", "tensorboardX")):
            raise ValueError("--logger TensorBoard: the package tensorboard is not installed: pip install tensorboard")

    def logger(self, described: Described) -> Logger:
        """Return a logger that writes the run's curves, its configuration and its pictures."""
        logger = PictureBoard(described.directory)
        logger.log_hyperparams({name: value for name, value in described.config.items() if name != "settings"})
        return logger


class PictureBoard(TensorBoardLogger):
    """Lightning's logger for TensorBoard, which also takes pictures, and has each value of an interrupted run once.

    The attempt that goes on logs again what was logged after the checkpoint. At its first value it tells TensorBoard to
    drop the earlier ones.

    Args:
        directory: folder of the run; the logger writes into `tensorboard/` in it.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, name="", version="tensorboard", default_hp_metric=False, purge_step=0)
        self._step = 0
        """Step of the last row."""

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        self._step = self._step if step is None else step

    @rank_zero_only
    def log_pictures(self, place: str, pictures: Sequence[PredictedImage], classes: Classes) -> None:
        """Log each image beside its truth and its prediction in the class colours, at the previous row's step."""
        for picture in pictures:
            self.experiment.add_image(f"{place}/predictions/{picture.name}", tables.strip(picture, classes), self._step, dataformats="HWC")

    def rows(self) -> None:
        """Return None: this logger keeps no text."""

    def restore(self, rows: str) -> None:
        """Keep what earlier attempts have logged up to the last of these rows."""
        self._step = max((int(row[STEP]) for row in rows_of(rows) if STEP in row), default=0)
        self._kwargs["purge_step"] = self._step + 1


@dataclass(frozen=True)
class LightningLogger(Tracker):
    """Logs each run by any logger of Lightning or of your own."""

    path: str
    """Import path of the class of the logger."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the logger by name. In texts, {name}, {group} and {directory} stand for those of the run."""

    def check(self) -> None:
        """Raise a ValueError if the class cannot be imported, or is no logger."""
        module, _, name = self.path.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f"--logger.path {self.path}: cannot be imported ({error}); expected as in lightning.pytorch.loggers.MLFlowLogger"
            ) from None
        if not (isinstance(found, type) and issubclass(found, Logger)):
            raise ValueError(f"--logger.path {self.path}: is no Logger of Lightning; expected as in lightning.pytorch.loggers.MLFlowLogger")

    def logger(self, described: Described) -> Logger:
        """Return the logger of a run."""
        module, _, name = self.path.rpartition(".")
        filled = {key: _filled(value, described) for key, value in self.arguments.items()}
        logger: Logger = getattr(importlib.import_module(module), name)(**filled)
        return logger


def _filled(value: Any, described: Described) -> Any:
    if not isinstance(value, str):
        return value
    for name, text in (("name", described.name), ("group", described.group), ("directory", described.directory)):
        value = value.replace(f"{{{name}}}", str(text))
    return value
