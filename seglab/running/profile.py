"""Measure where the time of a run goes: seconds by part, and a trace that a browser shows.

Costs nothing unless it is asked for.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.pytorch.profilers import Profiler
from torch import nn
from typing_extensions import override

from seglab.files import atomic_write

FILE = "profile.json"

TRACED = 20_000
"""Number of spans in a trace. Later ones only count in the sums."""

_PARTS = {
    "train_dataloader_next": "step: waiting for data",
    ".batch_to_device": "step: transfer to the device",
    ".training_step": "step: forward",
    "loss of a step": "step: loss",
    ".backward": "step: backward",
    "StepOrder.on_before_optimizer_step": "step: penalty",
    "penalty at the update": "step: penalty",
    ".optimizer_step": "step: optimizer",
    "[Callback]": "step: callbacks",
    "run_training_epoch": "step: Lightning and log",
}
"""Part of the time to which an action counts, by a piece of Lightning's name of the action; the first that fits."""

_EVALUATION = {
    "on_validation_model_eval": "validation",
    "on_test_model_eval": "test",
}
"""Evaluation that begins at the end of a hook of the module. It ends where the hook `..._train` begins."""


_TRAINING = ("step", "training")
"""Parts in which actions are told apart; all others have no inner parts."""


class Profile(Profiler):
    """Adds up the time of each part of a run. Time within an inner part does not count in the outer one.

    A part ends when the device has done its work. This makes a training on a GPU slower, and gives each part what it
    costs.

    Args:
        on_gpu: wait for the CUDA device at the end of each part.
    """

    def __init__(self, on_gpu: bool) -> None:
        super().__init__()
        self.on_gpu = on_gpu
        self.seconds: dict[str, float] = {}
        self.steps = 0
        self._open: list[tuple[str, float, list[float]]] = []
        """Parts that have begun: name, time of the beginning, seconds of the parts inside."""
        self._spans: list[tuple[str, float, float]] = []
        self._began = time.time()
        self._zero = time.perf_counter()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time within this context as a part of the run."""
        self._begin(name)
        try:
            yield
        finally:
            self._end()

    def watch_loss(self, loss: nn.Module) -> None:
        """Tell the time of a loss from that of the network."""
        loss.register_forward_pre_hook(lambda *_: self.start("loss of a step"))
        loss.register_forward_hook(lambda *_: self.stop("loss of a step"), always_call=True)

    @override
    def start(self, action_name: str) -> None:
        if action_name.endswith(("on_validation_model_train", "on_test_model_train")):
            self._end()
        outer = self._open[-1][0] if self._open else "other"
        found = next((part for piece, part in _PARTS.items() if piece in action_name), outer)
        self._begin(found if outer.startswith(_TRAINING) else outer)

    @override
    def stop(self, action_name: str) -> None:
        self._end()
        if action_name == "run_training_batch":
            self.steps += 1
        for hook, part in _EVALUATION.items():
            if action_name.endswith(hook):
                outer = self._open[-1][0]
                self._begin(part if outer.startswith(_TRAINING) else outer)

    @override
    def describe(self) -> None:
        """Print nothing: `run` shows a table of all its runs."""

    def write(self, directory: Path) -> None:
        """Write `profile.json`: sums, and spans in Chrome's tracing format, which https://ui.perfetto.dev opens."""
        events = [
            {"name": name, "ph": "X", "ts": 1e6 * began, "dur": 1e6 * seconds, "pid": 0, "tid": 0} for name, began, seconds in self._spans
        ]
        sums = Profiled(self.seconds, self.steps, process_started(), self._began, time.time(), os.getpid())
        content = {"traceEvents": events, "otherData": sums._asdict()}
        with atomic_write(directory / FILE, durable=False) as file:
            file.write(json.dumps(content).encode())

    def _begin(self, name: str) -> None:
        self._open.append((name, self._now(), []))

    def _end(self) -> None:
        name, began, inside = self._open.pop()
        seconds = self._now() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds - sum(inside)
        if self._open:
            self._open[-1][2].append(seconds)
        if len(self._spans) < TRACED:
            self._spans.append((name, began - self._zero, seconds))

    def _now(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


def part(profile: Profile | None, name: str) -> contextlib.AbstractContextManager[None]:
    """Count the time within this context as a part of a run, if the run has a profile."""
    return contextlib.nullcontext() if profile is None else profile.part(name)


class _Process:
    work_began: float | None = None
    """Time when this process was told what to do, if it was started before."""


def forget_time_before() -> None:
    """Let `process_started` say now: the time before belongs to another process, which did its own work meanwhile."""
    _Process.work_began = time.time()


def process_started() -> float:
    """Return the start time of this process in seconds since 1970; the present time if the system does not tell."""
    if _Process.work_began is not None:
        return _Process.work_began
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        age = 0.0
    return time.time() - age


class Profiled(NamedTuple):
    """The content of a profile."""

    seconds: dict[str, float]
    """Seconds of each part."""
    steps: int
    process_started: float
    began: float
    ended: float
    """Times of the start of the process, and of the start and end of the run, in seconds since 1970."""
    process: int = 0
    """Id of the process; 0 in a profile of seglab 0.3 or older."""


def read_profile(directory: Path) -> Profiled | None:
    """Return the profile of the run in a folder; None if it has none."""
    path = directory / FILE
    return Profiled(**json.loads(path.read_text())["otherData"]) if path.exists() else None
