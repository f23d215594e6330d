"""A profile says where the time of a run went, and changes none of its numbers."""

import json
import os
import time
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import Callback
from torch import nn

from seglab import L1, Proximal
from seglab.running.profile import FILE, Profile, Profiled, read_profile
from seglab.script.profile import Times, parts_of, unfinished
from tests.nets import Staged, adamw, fixed_module
from tests.nets import loader as loader_of
from tests.study.attempts import attempt, what_counts
from tests.trainers import quiet_trainer


def test_two_workers_that_start_together_are_two(tmp_path: Path) -> None:
    """Workers are forks of one process, a few hundredths of a second apart."""
    folders = [tmp_path / name for name in ("one", "two", "stopped", "earlier")]
    for folder, process in ((folders[0], 11), (folders[1], 12)):
        folder.mkdir()
        told = Profiled({"validation": 4.0}, 3, 110.0 + process / 1000, 111.0, 116.0, process)
        (folder / FILE).write_text(json.dumps({"otherData": told._asdict()}))
    for folder, written in ((folders[2], 115.0), (folders[3], 90.0)):
        folder.mkdir()
        (folder / "log.txt").touch()
        os.utime(folder / "log.txt", (written, written))
    times = Times(started=100.0, checking=104.0, trained=117.0, ended=119.0)
    parts, steps = parts_of(folders, times)
    assert steps == 6
    assert parts == pytest.approx({
        "run: imports, command line": 4.0,
        "run: checks, a step of each new arm": 6.011,
        "workers: imports, plan": 2 * 1.0 - 0.023,
        "validation": 8.0,
        "workers: records, between runs": 2.0,
        "workers: end": 1.0,
        "run: comparison, report": 2.0,
    })  # fmt: skip
    assert unfinished(folders, times) == 1


class Slow(Callback):
    """Sleeps in a hook, in the step and in the validation."""

    def on_train_batch_end(self, *_: object) -> None:
        time.sleep(0.02)

    def on_validation_batch_end(self, *_: object) -> None:
        time.sleep(0.03)


class SlowLoss(nn.Module):
    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.inner = loss

    def forward(self, *given: object) -> object:
        time.sleep(0.01)
        return self.inner(*given)


def test_each_part_has_its_own_time(tmp_path: Path) -> None:
    """Three steps and three validation batches, which sleep for known times."""
    module = fixed_module(Proximal(L1(0.02)), adamw, net=Staged)
    module.loss = SlowLoss(module.loss)
    profile = Profile(on_gpu=False)
    profile.watch_loss(module.loss)
    trainer = quiet_trainer(max_epochs=1, profiler=profile, callbacks=[Slow()], limit_val_batches=3)
    began = time.perf_counter()
    with profile.part("training: start, end"):
        trainer.fit(module, loader_of(), loader_of())
    whole = time.perf_counter() - began
    profile.write(tmp_path)
    found = read_profile(tmp_path)
    assert found is not None
    assert found.steps == 3
    assert sum(found.seconds.values()) == pytest.approx(whole, abs=0.05)
    for name, least in {"step: callbacks": 0.06, "step: loss": 0.03, "validation": 0.12}.items():
        assert found.seconds[name] >= least
    assert {"step: forward", "step: backward", "step: optimizer", "step: penalty"} <= set(found.seconds)
    events = json.loads((tmp_path / "profile.json").read_text())["traceEvents"]
    assert {event["ph"] for event in events} == {"X"}
    assert all(event["dur"] >= 0 for event in events)


@pytest.mark.weekly
def test_run_shows_a_table_and_trains_the_same(tmp_path: Path) -> None:
    one = ("run", "--arm", "plain", "--seed", 0, "--wandb", "disabled", "--accelerator", "cpu")
    for name, words in (("without", one), ("with", (*one, "--profile", "true"))):
        (tmp_path / name).mkdir()
        assert attempt(tmp_path / name, *words) == 0
    runs = {name: tmp_path / name / "runs" / "fragile" / "plain" / "seed-0" for name in ("without", "with")}
    assert what_counts(runs["with"]) == what_counts(runs["without"])
    assert not (runs["without"] / "profile.json").exists()
    printed = (tmp_path / "with" / "printed.txt").read_text()
    for part in ("run: imports", "workers: imports", "step: forward", "validation", "test, evaluation", "in all"):
        assert part in printed
    assert "where the time went" not in (tmp_path / "without" / "printed.txt").read_text()
