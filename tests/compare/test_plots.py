"""Plots draw on the axes that they are given, for a figure of one's own; the report shows the same plots."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from seglab.compare import (
    Criteria,
    Findings,
    Metric,
    analyse,
    compare,
    plot_classes,
    plot_curves,
    plot_differences,
    plot_interaction,
    plot_seeds,
    read_folder,
)
from seglab.compare.logs.rates import rates_of
from seglab.compare.plots import differences
from seglab.compare.plots.schedules import plot_schedule, scale_of
from seglab.compare.plots.style import figure_of
from seglab.compare.plots.weights import plot_stage
from seglab.compare.report import PICTURES, render
from seglab.records import StudyRecord
from tests.compare.drawn import study, write_study, write_tuning_runs

BASE = np.array([0.60, 0.61, 0.62, 0.63, 0.64, 0.65])
CELLS = {"none+full": BASE, "l2+full": BASE + 0.01, "none+frozen": BASE - 0.02, "l2+frozen": BASE + 0.02}
LOG = "epoch,step,val/miou,stage/head/lr,stage/encoder.0/lr,stage/head/norm\n0,4,0.5,,,\n,0,,0.1,0.0,1.0\n,4,,0.1,0.1,2.0\n"


@pytest.fixture
def found(tmp_path: Path) -> Findings:
    results = study({arm: list(map(float, scores)) for arm, scores in CELLS.items()})
    shared = {"tuning": {"metric": "val/miou", "seeds": [1000], "settings": 2}}
    arms = {arm: {"arm": arm, "tuning": {"chosen": "lr=1e-2", "settings": ["lr=1e-3", "lr=1e-2"]}} for arm in CELLS}
    record = StudyRecord("study", "none+full", "test/miou", shared, arms, factors=("penalty", "schedule"))
    write_study(tmp_path, results, record)
    write_tuning_runs(tmp_path, {arm: {"lr=1e-3": (0.3,), "lr=1e-2": (0.4,)} for arm in CELLS})
    for result in results:
        (result.run.directory(tmp_path) / "metrics.csv").write_text(LOG)
    return analyse(read_folder(tmp_path))


def test_a_plot_is_drawn_on_the_axes_of_a_paper(found: Findings) -> None:
    assert found.factors is not None
    assert found.classes is not None
    curves, _ = found.curves
    rates = rates_of(found.logs)
    figure = Figure(figsize=(12, 8), layout="constrained")
    axes = [figure.add_subplot(2, 4, place + 1) for place in range(7)]
    drawn = [
        plot_seeds(found.comparison, axes[0]),
        plot_differences(found.comparison, axes[1]),
        plot_curves(curves, axes[2]),
        plot_interaction(found.factors, axes[3]),
        plot_classes(found.classes, axes[4]),
        plot_schedule(rates["l2+full"], ("encoder.0", "head"), scale_of(rates), axes[5]),
        plot_stage(curves, list(curves), axes[6]),
    ]
    assert all(one is other for one, other in zip(drawn, axes, strict=True))
    assert all(ax.has_data() for ax in axes)
    assert len(figure.axes) == len(drawn) + 1  # and the colour bar of the classes
    figure.draw_without_rendering()


def test_a_plot_without_axes_is_that_of_the_report(found: Findings) -> None:
    own, other = plot_seeds(found.comparison), plot_seeds(found.comparison, Figure().add_subplot())
    assert figure_of(own) is not figure_of(other)
    assert [line.get_xydata().tolist() for line in own.lines] == [line.get_xydata().tolist() for line in other.lines]  # type: ignore[union-attr]


def test_every_picture_has_its_title_and_its_caption_in_the_report(found: Findings) -> None:
    page = render(found)
    places = []
    for make in PICTURES:
        picture = make(found)
        assert picture is not None
        places.append(page.index(f'aria-label="{picture.title}"'))
        assert f"<figcaption>{picture.caption}</figcaption>" in page
    assert places == sorted(places)
    assert len(places) == len(PICTURES)


def test_a_metric_without_margin_has_no_band(found: Findings) -> None:
    study = found.study
    for metric, bands in (("test/miou", 1), ("val/loss", 0)):
        one = analyse(study, Criteria(Metric.parse(metric), "none+full"))
        assert len(plot_differences(one.comparison).patches) == bands
        picture = differences.picture(one)
        assert picture is not None
        assert ("Band: the margin, ±0.5 points." in picture.caption) == bool(bands)
        assert ("No band: val loss has no margin." in picture.caption) == (not bands)
        page = render(one)
        assert ("No arm is called equivalent: val loss has no margin, unless --margin gives one." in page) == (not bands)


def test_labels_of_small_differences_do_not_meet(tmp_path: Path) -> None:
    scores = {"none": BASE, "l1": BASE + 0.0115 + 0.003 * np.sin(np.arange(6)), "l2": BASE + 0.002 + 0.005 * np.cos(np.arange(6))}
    record = StudyRecord("study", "none", "val/loss", {}, {arm: {} for arm in scores})
    write_study(tmp_path, study({arm: list(map(float, own)) for arm, own in scores.items()}), record)
    picture = differences.picture(analyse(read_folder(tmp_path)))
    assert picture is not None
    picture.figure.canvas.draw()
    low, high = picture.figure.axes[0].get_xlim()
    axis = picture.figure.axes[0].xaxis
    boxes = [tick.label1.get_window_extent() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert len(boxes) > 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_single_epoch_has_a_whole_number() -> None:
    ax = plot_curves({"none": {0: {3: 0.5}}})
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [3]


def test_long_names_leave_the_picture_its_width() -> None:
    """A name of 45 letters took two thirds of the picture; now it stands above its row.

    One of 127 letters lacks its middle.
    """
    criteria = Criteria(Metric("test", "miou"), "none")

    def drawn(name: str) -> tuple[float, list[str]]:
        ax = plot_differences(compare(study({"none": list(BASE), name: list(BASE + 0.01)}), criteria), None)
        figure = figure_of(ax)
        figure.set_size_inches(4.6, 1.6)
        figure.draw_without_rendering()
        return ax.get_position().width, [text.get_text() for text in (*ax.texts, *ax.get_yticklabels())]

    long = "decoupled-l2+gradual-unfreezing-from-the-head"
    (short_width, _), (width, texts), (longest_width, cut) = drawn("l2"), drawn(long), drawn("a" * 64 + "b" * 63)
    assert min(width, longest_width) > 0.95 * short_width
    assert long in texts
    assert "a" * 29 + "…" + "b" * 29 in cut


@pytest.mark.parametrize(("names", "tilt"), [(("none", "l2"), 0), (("none", "decoupled-l2+frozen", "decoupled-l2+gradual"), 30)])
def test_names_below_the_columns_do_not_meet(names: tuple[str, ...], tilt: int) -> None:
    """Names of 20 letters were written over each other, so that no column had a name."""
    ax = plot_seeds(compare(study({name: list(BASE) for name in names}), Criteria(Metric("test", "miou"), "none")))
    figure_of(ax).draw_without_rendering()
    labels = ax.get_xticklabels()
    assert [(label.get_text(), label.get_rotation()) for label in labels] == [(name, tilt) for name in names]
    if not tilt:
        boxes = [label.get_window_extent() for label in labels]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_the_longest_names_leave_every_picture_its_axes(tmp_path: Path) -> None:
    """Three names of 127 letters left no width, and the terminal showed a warning of matplotlib."""
    write_study(tmp_path, study({name: BASE.tolist() for name in ("none", "a" * 127, "b" * 127)}), None)
    found = analyse(read_folder(tmp_path), Criteria(Metric("test", "miou"), "none"))
    for make in PICTURES:
        if (picture := make(found)) is not None:
            assert "…" in picture.drawing  # a warning would be an error
