"""Runs that share a GPU: how many at a time `--runs_per_device auto` chooses, by the memory of finished runs."""

import dataclasses
import json
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seglab.records import write_result
from seglab.running.local import Ended, Local
from seglab.running.resources import Resources
from seglab.running.sharing import CONTEXT_MIB, RESERVED, USABLE, Machine, needed_mib, runs_per_device, why
from seglab.script.main import main
from tests.compare.drawn import result
from tests.study import tiny_experiment
from tests.study.scripts import SCRIPT

A100 = Machine("A100", free_mib=80 * 1024, gpus=1, cores=64)


@given(st.floats(1, 1e6), st.floats(0, 1e6), st.integers(1, 8), st.integers(1, 128))
def test_as_many_runs_as_fit(need: float, free: float, gpus: int, cores: int) -> None:
    machine = Machine("A100", free, gpus, cores)
    number = runs_per_device(need, machine)
    assert number >= 1
    if number > 1:
        assert number * need <= USABLE * free
        assert number * gpus <= cores
    one_more = number + 1
    assert one_more * need > USABLE * free * (1 - 1e-9) or one_more * gpus > cores


@pytest.mark.parametrize(
    ("need_gib", "cores", "line"),
    [
        (4.1, 64, "auto: 17 runs at a time on each GPU: a run needs 4.1 of 80.0 GiB"),
        (4.1, 3, "auto: 3 runs at a time on each GPU: a run needs 4.1 of 80.0 GiB, and a core of 3"),
        (99.0, 64, "auto: 1 run at a time on each GPU: a run needs 99.0 of 80.0 GiB"),
    ],
)
def test_the_choice_is_explained(need_gib: float, cores: int, line: str) -> None:
    assert why(need_gib * 1024, dataclasses.replace(A100, cores=cores)) == line


def test_a_run_needs_what_the_largest_on_such_a_gpu_needed(tmp_path: Path) -> None:
    def done(name: str, device: str, peak: float) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        write_result(folder / "result.json", dataclasses.replace(result("none", 0, 0.5), cost={"peak_memory_mib": peak}))
        (folder / "environment.json").write_text(json.dumps({"device": device}))
        return folder

    folders = [done("small", "A100", 1000), done("large", "A100", 3000), done("cpu", "x86_64", 9000), done("damaged", "A100", 8000)]
    (folders[-1] / "result.json").write_text("{")
    assert needed_mib([*folders, tmp_path / "open"], "A100") == RESERVED * 3000 + CONTEXT_MIB
    assert needed_mib(folders, "H200") is None


@pytest.mark.weekly
def test_one_run_is_measured_before_others_share_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On the CPU, in the place of a GPU: its runs record its name, and the memory of their processes."""
    name = platform.processor() or platform.machine()
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: Machine(name, free_mib=1e6, gpus=1, cores=2)))
    monkeypatch.setattr(Resources, "shared_gpus", lambda self: 1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "run", "--seeds", "1", "--runs_per_device", "auto"])
    started: list[int] = []
    launch = Local.launch

    def counted(self: Local, commands: Sequence[Sequence[str]], logs: Path, watch: Callable[[], None]) -> list[Ended]:
        started.append(len(commands))
        return launch(self, commands, logs, watch)

    monkeypatch.setattr(Local, "launch", counted)

    def run() -> str:
        with pytest.raises(SystemExit) as ended:
            main(tiny_experiment.study)
        printed = "".join(capfd.readouterr())
        assert ended.value.code == 0, printed
        return printed

    said = run()
    assert "auto: 1 run first, one at a time on each GPU, to measure its memory" in said
    assert "auto: 2 runs at a time on each GPU: a run needs " in said
    assert started == [1, 2]
    runs = [tmp_path / "runs" / "tiny" / arm / "seed-0" for arm in ("none", "l1", "l2")]
    assert all((run / "result.json").exists() for run in runs)
    first, *others = sorted(runs, key=lambda run: (run / "result.json").stat().st_mtime)
    alone_until = (first / "result.json").stat().st_mtime
    assert all((run / "settings.yaml").stat().st_mtime > alone_until for run in others), "the first run was not alone"
    for path in others:
        (path / "result.json").unlink()
    assert "first" not in run(), "a finished run is measured already"
    assert started == [1, 2, 2]
