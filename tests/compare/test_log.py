"""`metrics.csv`: one reader for all that the report shows."""

import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from seglab.compare.logs.curves import curves_of
from seglab.compare.logs.log import Index, RunLog, read_logs
from seglab.records import Run, StudyRecord
from tests.compare.drawn import study, write_study

RUN = Run("study", "none", 0)
WANTED: Mapping[str, Index] = {"val/miou": "epoch", "stage/*/lr": "step"}
LINES = (
    "epoch,step,train/loss,val/miou,stage/head/lr,stage/head/norm,stage/encoder.0/lr",
    ",0,,,0.1,,0.0",
    ",0,0.5,,,2.0,",
    "0,4,,0.25,,,",
    "1,8,,0.5,,,",
    ",4,,,0.2,,inf",
    "1,8,,0.75,,,",  # a resumed run repeats its last epoch
    "2,12,,nan,,,",
)


def log_of(folder: Path, *lines: str, wanted: Mapping[str, Index] = WANTED) -> RunLog:
    RUN.directory(folder).mkdir(parents=True)
    (RUN.directory(folder) / "metrics.csv").write_text("\n".join(lines))
    (log,) = read_logs(folder, [RUN], wanted)
    return log


def test_the_columns_that_are_wanted(tmp_path: Path) -> None:
    log = log_of(tmp_path, *LINES)
    assert (set(log.columns), log.problem) == ({"val/miou", "stage/head/lr", "stage/encoder.0/lr"}, "")
    assert log.columns["val/miou"] == {0: 0.25, 1: 0.75}
    assert log.by_stage("lr") == {"head": {0: 0.1, 4: 0.2}, "encoder.0": {0: 0.0}}
    assert log.by_stage("norm") == {}


def test_pandas_reads_the_same(tmp_path: Path) -> None:
    log = log_of(tmp_path, *LINES, wanted={"*": "step"})
    table = pd.read_csv(RUN.directory(tmp_path) / "metrics.csv").replace(math.inf, math.nan)
    assert set(log.columns) == set(table)
    for name, values in log.columns.items():
        assert values == table.dropna(subset=[name]).groupby("step")[name].last().to_dict()


def test_the_last_line_of_a_killed_run_can_be_short(tmp_path: Path) -> None:
    log = log_of(tmp_path, *LINES, "3,16")
    assert log.problem == ""
    assert log.columns["val/miou"] == {0: 0.25, 1: 0.75}


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (None, "No such file or directory"),
        ((), "metrics.csv has no val/miou"),
        (("epoch,step,train/loss", "0,1,0.5"), "metrics.csv has no val/miou"),
        (("epoch,step,val/miou", "0,1,nan"), "metrics.csv has no val/miou"),
        (("epoch,step,val/miou", "0,1,0.5", "1,2,oops"), "could not convert string to float: 'oops'"),
    ],
)
def test_a_run_without_a_curve_is_named(tmp_path: Path, lines: tuple[str, ...] | None, note: str) -> None:
    log = read_logs(tmp_path, [RUN], WANTED)[0] if lines is None else log_of(tmp_path, *lines)
    assert curves_of([log]) == ({}, (f"none, seed 0: no learning curve ({note})",))


def test_a_damaged_stage_does_not_cost_the_learning_curve(tmp_path: Path) -> None:
    log = log_of(tmp_path, *LINES, ",9,,,0.1,,1e-")
    assert curves_of([log])[0] == {"none": {0: {0: 0.25, 1: 0.75}}}
    assert log.by_stage("lr") == {}


COUNT = """
import sys
from collections.abc import Mapping
from pathlib import Path
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
from seglab.compare import analyse, read_folder, write_report
page = write_report(analyse(read_folder(Path(sys.argv[1])))).read_text()
assert "Learning curves" in page and "What happened to the weights" in page and "When which stage trained" in page
for name in ("metrics.csv", "result.json"):
    print(sum(path.endswith(name) for path in opened))
"""


def test_a_report_reads_each_log_and_each_result_once(tmp_path: Path) -> None:
    results = study({"none": [0.5, 0.6], "l2": [0.5, 0.7]})
    write_study(tmp_path, results, StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l2": {}}))
    for result in results:
        (result.run.directory(tmp_path) / "metrics.csv").write_text("\n".join(LINES))
        with (result.run.directory(tmp_path) / "metrics.csv").open("a") as file:
            file.write("\n,4,,,,3.0,\n")
    done = subprocess.run([sys.executable, "-c", COUNT, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "4"]
