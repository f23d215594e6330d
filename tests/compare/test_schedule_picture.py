"""The picture of when each stage trained: out of metrics.csv, into the report."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from seglab.compare import analyse, plot_schedules, read_folder, write_report
from seglab.compare.logs import rates as logged
from seglab.compare.logs.log import read_logs
from seglab.compare.logs.rates import StageRates, rates_of
from seglab.compare.plots.schedules import COLUMNS
from seglab.records import Run, StudyRecord
from tests.compare.drawn import result, write_study

STAGES = ("encoder.0", "encoder.1", "decoder", "head")
STEPS = range(0, 100, 10)
Schedule = Callable[[str, int], float]


def full(stage: str, step: int) -> float:
    return 1e-3


def frozen(stage: str, step: int) -> float:
    return 0.0 if stage.startswith("encoder") else 1e-3


def gradual(stage: str, step: int) -> float:
    return 1e-3 if step >= 30 * (3 - STAGES.index(stage)) else 0.0


def warm_up(stage: str, step: int) -> float:
    return 1e-3 * min(1.0, step / 50)


def write_metrics(path: Path, schedule: Schedule, start: float = 0.0) -> None:
    lines = ["epoch,step,val/miou,train/loss," + ",".join(f"stage/{stage}/lr" for stage in STAGES) + ",stage/head/norm"]
    for step in STEPS:
        lines += [f",{step},,0.5,,,,,", f",{step},,,{','.join(str(start + schedule(stage, step)) for stage in STAGES)},2.0"]
    path.write_text("\n".join([*lines, "0,99,0.5,,,,,,"]) + "\n")


def folder_of(path: Path, **schedules: Schedule) -> Path:
    """Two seeds, the second with other rates, so that it shows which was read."""
    results = [result(arm, seed, 0.5 + seed / 100) for arm in schedules for seed in range(2)]
    write_study(path, results, StudyRecord("study", next(iter(schedules)), "test/miou", {}, {arm: {} for arm in schedules}))
    for found in results:
        write_metrics(found.run.directory(path) / "metrics.csv", schedules[found.run.arm], start=float(found.run.seed))
    return path


def runs(*arms: str) -> list[Run]:
    return [Run("study", arm, seed) for arm in arms for seed in (1, 0)]


def read_rates(folder: Path, wanted: Sequence[Run]) -> StageRates:
    return rates_of(read_logs(folder, wanted, logged.LOGGED))


def panels(rates: StageRates) -> list[Axes]:
    return [axes for axes in plot_schedules(rates).axes if axes.get_visible()]


def names_of(axes: Axes) -> list[str]:
    """The stages from the bottom up; only panels at the left bear them."""
    return [label.get_text() for label in axes.figure.axes[0].get_yticklabels()]


def hatched(axes: Axes) -> set[tuple[str, float, float]]:
    """Stage, from, to."""
    names = names_of(axes)
    found = set()
    for bars in axes.collections:
        for path in bars.get_paths():
            (left, low), (right, high) = path.get_extents().get_points()
            found.add((names[round((low + high) / 2)], left, right))
    return found


def test_the_lowest_seed_of_each_arm_is_read(tmp_path: Path) -> None:
    rates = read_rates(folder_of(tmp_path, full=full, gradual=gradual), runs("full", "gradual"))
    assert list(rates) == ["full", "gradual"]
    assert rates == {
        arm: {stage: {step: schedule(stage, step) for step in STEPS} for stage in STAGES}
        for arm, schedule in (("full", full), ("gradual", gradual))
    }


def test_where_the_lowest_seed_has_no_log_the_next_is_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, full=full, frozen=frozen)
    (folder / "full" / "seed-0" / "metrics.csv").unlink()
    (folder / "frozen" / "seed-0" / "metrics.csv").write_text("step,stage/head/lr\n0,x\n")
    rates = read_rates(folder, runs("full", "frozen"))
    assert (rates["full"]["head"][0], rates["frozen"]["encoder.0"][0]) == (1.001, 1.0)


@pytest.mark.parametrize("schedule", [full, warm_up])
def test_stages_that_all_do_the_same_make_no_picture(tmp_path: Path, schedule: Schedule) -> None:
    folder = folder_of(tmp_path, one=schedule, other=lambda stage, step: 3 * schedule(stage, step))
    assert read_rates(folder, runs("one", "other")) == {}
    assert "When which stage trained" not in write_report(analyse(read_folder(folder))).read_text()


def test_runs_without_rates_make_no_picture(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, full=full, frozen=frozen)
    for path in folder.glob("*/seed-*/metrics.csv"):
        path.write_text("epoch,step,val/miou\n0,1,0.5\n")
    assert read_rates(folder, runs("full", "frozen")) == {}
    assert "When which stage trained" not in write_report(analyse(read_folder(folder))).read_text()


def test_frozen_is_hatched_from_the_first_step_to_the_last(tmp_path: Path) -> None:
    rates = read_rates(folder_of(tmp_path, full=full, frozen=frozen, gradual=gradual), runs("full", "frozen", "gradual"))
    one, two, three, _ = panels(rates)  # and the colour bar
    assert [axes.get_title() for axes in (one, two, three)] == ["full", "frozen", "gradual"]
    assert hatched(one) == set()
    assert hatched(two) == {("encoder.0", 0, 100), ("encoder.1", 0, 100)}
    assert hatched(three) == {("decoder", 0, 30), ("encoder.1", 0, 60), ("encoder.0", 0, 90)}
    assert all(bars.get_hatch() for bars in two.collections)


def test_freezing_twice_is_hatched_twice(tmp_path: Path) -> None:
    rates = read_rates(
        folder_of(tmp_path, cyclic=lambda stage, step: 0.0 if stage == "head" and step // 20 in (1, 3) else 1e-3), runs("cyclic")
    )
    assert hatched(panels(rates)[0]) == {("head", 20, 40), ("head", 60, 80)}


def test_colours_are_the_logged_rates_with_the_head_on_top(tmp_path: Path) -> None:
    rates = read_rates(folder_of(tmp_path, decay=lambda stage, step: 10.0 ** -(5 - STAGES.index(stage)) * (1 + step)), runs("decay"))
    axes, bar = panels(rates)
    (image,) = axes.images
    values: np.ndarray = np.ma.getdata(np.ma.asarray(image.get_array()))
    assert values.shape == (4, COLUMNS)
    expected = [[10.0 ** -(5 - row) * (1 + 10 * (column * 100 // COLUMNS // 10)) for column in range(COLUMNS)] for row in range(4)]
    assert np.allclose(values, expected, rtol=1e-6)
    assert names_of(axes) == list(STAGES)
    assert axes.get_ylim() == (-0.5, 3.5)  # so the last is on top
    assert image.norm.vmin == pytest.approx(0.91e-3)
    assert image.norm.vmax == pytest.approx(0.91)  # three decades
    assert bar.get_ylabel() == "learning rate"


def test_a_tenth_of_the_rate_is_not_the_darkest_colour() -> None:
    (image,) = panels({"a": {"encoder.0": {0: 1e-4}, "head": {0: 1e-3}}})[0].images
    assert np.asarray(image.norm(np.array([1e-4, 1e-3]))).tolist() == pytest.approx([0.5, 1.0])


def test_a_stage_that_an_arm_has_not_and_what_was_not_logged_stay_blank() -> None:
    axes = panels({"a": {"network": {0: 1.0, 10: 0.5}}, "b": {"encoder.0": {10: 1.0}, "head": {0: 0.0, 10: 1.0}}})[1]
    (image,) = axes.images
    assert names_of(axes) == ["encoder.0", "head", "network"]
    drawn = ~np.ma.getmaskarray(np.ma.asarray(image.get_array()))
    assert drawn.sum(axis=1).tolist() == [COLUMNS // 2, COLUMNS // 2, 0]
    assert hatched(axes) == {("head", 0, 10)}


@pytest.mark.parametrize("arms", [1, 2, 3, 4, 5, 10])
def test_every_arm_has_a_panel_and_names_stand_at_the_left(arms: int) -> None:
    rates = {f"arm-{place}": {"encoder.0": {0: 0.0, 5: 1e-3}, "head": {0: 1e-3, 5: 1e-3}} for place in range(arms)}
    figure = plot_schedules(rates)
    figure.draw_without_rendering()
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.get_title()]
    assert [axes.get_title() for axes in shown] == list(rates)
    across = {1: 1, 2: 2, 4: 2}.get(arms, 3)
    for place, axes in enumerate(shown):
        assert any(label.get_visible() and label.get_text() for label in axes.get_yticklabels()) == (place % across == 0)
        lowest = place + across >= arms
        assert (axes.get_xlabel() == "optimizer step") == lowest
        assert any(label.get_visible() and label.get_text() for label in axes.get_xticklabels()) == lowest
    (legend,) = figure.legends
    assert [(handle.get_hatch() is not None, handle.get_label()) for handle in legend.legend_handles if isinstance(handle, Patch)] == [
        (True, "frozen (rate 0)")
    ]


def test_the_report_shows_it_small_and_self_contained(tmp_path: Path) -> None:
    page = write_report(analyse(read_folder(folder_of(tmp_path, full=full, gradual=gradual)))).read_text()
    drawing = page[page.index('aria-label="When which stage trained"') :].partition("</svg>")[0]
    assert len(drawing) < 100_000
    assert "url(#" in drawing
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in re.findall(r'href="([^"]*)"', drawing))
    assert "Hatched: frozen" in page
