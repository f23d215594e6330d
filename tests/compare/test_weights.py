"""The curves of the weights by stage: out of metrics.csv, into the report."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from seglab.compare import analyse, plot_weights, read_folder, write_report
from seglab.compare.logs.log import read_logs
from seglab.compare.logs.weights import LOGGED, StageCurves, stage_curves_of
from seglab.records import Run, StudyRecord
from tests.compare.drawn import result, write_study

RECORD = StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l2": {}})
HEADER = "step,train/loss,stage/encoder.0/norm,stage/encoder.0/zeros,stage/decoder/norm,stage/decoder/lr\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    results = [result(arm, seed, 0.5 + seed / 100) for arm in ("none", "l2") for seed in range(2)]
    write_study(tmp_path, results, RECORD)
    for place, found in enumerate(results):
        (found.run.directory(tmp_path) / "metrics.csv").write_text(
            HEADER + f"0,0.5,,,,\n0,,{place + 1}.0,0.0,3.0,0.1\n9,,{place + 2}.0,0.0,nan,0.1\n"
        )
    return tmp_path


def read_stage_curves(folder: Path, runs: Sequence[Run]) -> StageCurves:
    return stage_curves_of(read_logs(folder, runs, LOGGED))


def test_curves_are_read_by_quantity_stage_arm_and_seed(folder: Path) -> None:
    curves = read_stage_curves(folder, [Run("study", arm, seed) for arm in ("none", "l2") for seed in range(2)])
    assert set(curves) == {"norm"}  # zeros are 0 everywhere, and a learning rate is not drawn
    assert curves["norm"]["encoder.0"] == {
        "none": {0: {0: 1.0, 9: 2.0}, 1: {0: 2.0, 9: 3.0}},
        "l2": {0: {0: 3.0, 9: 4.0}, 1: {0: 4.0, 9: 5.0}},
    }
    assert curves["norm"]["decoder"]["l2"][1] == {0: 3.0}


def test_the_picture_has_a_panel_for_each_stage_from_the_input_on(folder: Path) -> None:
    curves = read_stage_curves(folder, [Run("study", "l2", 0), Run("study", "none", 0)])
    figure = plot_weights(curves)
    assert [axes.get_title() for axes in figure.axes] == ["encoder.0", "decoder"]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}  # type: ignore[union-attr]
    assert drawn == {"l2": [3.0, 4.0], "none": [1.0, 2.0]}


def test_the_report_shows_them_only_where_there_are_any(folder: Path) -> None:
    assert "What happened to the weights" in write_report(analyse(read_folder(folder))).read_text()
    for path in folder.glob("*/seed-*/metrics.csv"):
        path.write_text("epoch,step,val/miou\n0,1,0.5\n")
    assert "What happened to the weights" not in write_report(analyse(read_folder(folder))).read_text()


def test_a_run_without_metrics_is_left_out(folder: Path) -> None:
    (folder / "l2" / "seed-1" / "metrics.csv").unlink()
    curves = read_stage_curves(folder, [Run("study", "l2", seed) for seed in range(2)])
    assert list(curves["norm"]["encoder.0"]["l2"]) == [0]
