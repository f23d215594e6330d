"""The panels of a study's workspace and report at W&B. A panel is made only of names that a run has logged."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from seglab.transaction_log import Keys

STEP = "trainer/global_step"
CURVES = ("val/miou", "val/dice", "train/loss")
WEIGHTS = ("norm", "zero_filters", "drift", "effective_lr")
"""Numbers of each stage that have panels."""

NOTE = (
    "Bands and bars show the mean and the standard deviation over the seeds. They are no test: `seglab compare` makes the comparison, from the files of "
    "the study."
)


def curve(name: str) -> Any:
    """Return the mean curve of each arm with a band of one standard deviation, unsmoothed."""
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=name,
        x=STEP,
        y=[name],
        groupby=wr.Config("arm"),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        smoothing_factor=0.0,
        smoothing_type="none",
        max_runs_to_show=100,
    )


def bars(name: str) -> Any:
    """Return the mean of each arm with its standard deviation."""
    import wandb_workspaces.reports.v2 as wr

    return wr.BarPlot(
        title=name, metrics=[name], groupby=wr.Config("arm"), groupby_aggfunc="mean", groupby_rangefunc="stddev", max_bars_to_show=100
    )


def scatter(setting: str, score: str) -> Any:
    """Return a point for each run: a setting on a logarithmic axis, and a score."""
    import wandb_workspaces.reports.v2 as wr

    return wr.ScatterPlot(title=f"{score} by {setting}", x=wr.Config(setting), y=wr.SummaryMetric(score), log_x=True)


def curves(names: Iterable[str], keys: Keys) -> list[Any]:
    """Return a panel for each curve that was logged."""
    return [curve(name) for name in names if name in keys.curves]


def answer(metric: str, keys: Keys) -> list[Any]:
    """Return the panels of the study's question: its metric by arm, strength and ratio, and parallel coordinates.

    The parallel coordinates lead from the settings in which the runs differ to the best mIoU on val.
    """
    import wandb_workspaces.reports.v2 as wr

    panels = [wr.MarkdownPanel(markdown=NOTE)]
    if metric in keys.summary:
        panels.append(bars(metric))
        panels += [scatter(name, metric) for name in ("strength", "ratio") if _varies(name, keys)]
    panels += coordinates(("penalty", "schedule", "strength", "ratio", "lr"), "best/val_miou", keys)
    return panels


def coordinates(settings: Iterable[str], score: str, keys: Keys) -> Iterator[Any]:
    """Yield parallel coordinates from settings to a score.

    Yield nothing if fewer than two settings differ between the runs that have them, or if no run has the score.
    """
    import wandb_workspaces.reports.v2 as wr

    differing = [name for name in settings if len(set(keys.config.get(name, ())) - {"null"}) > 1]
    if score in keys.summary and len(differing) > 1:
        columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(name)) for name in differing]
        yield wr.ParallelCoordinatesPlot(
            title=f"{', '.join(differing)} and {score}",
            columns=[*columns, wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(score))],
        )


def classes(keys: Keys) -> list[Any]:
    """Return the tables of the test split, in the order of their names."""
    import wandb_workspaces.reports.v2 as wr

    return [wr.WeavePanelSummaryTable(table_name=name) for name in sorted(keys.tables) if name.startswith("test/")]


def pictures(keys: Keys) -> list[Any]:
    """Return the pictures, a column for each run."""
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.MediaBrowser(title=name, media_keys=[name], mode="grid", grid_x_axis="run", grid_y_axis="index") for name in sorted(keys.images)
    ]


def weights(keys: Keys) -> list[Any]:
    """Return a panel for each number of each stage's weights."""
    names = [name for kind in WEIGHTS for name in sorted(keys.curves) if name.startswith("stage/") and name.endswith(f"/{kind}")]
    return curves(names, keys)


def freezing(keys: Keys) -> list[Any]:
    """Return the learning rate of each stage, and the number of trainable parameters."""
    return curves([*sorted(name for name in keys.curves if name.startswith("lr/")), "train/trainable_parameters"], keys)


def cost(keys: Keys) -> list[Any]:
    """Return the costs of each arm."""
    return [bars(name) for name in sorted(keys.summary) if name.startswith("cost/")]


def tuning(keys: Keys) -> list[Any]:
    """Return how the score of the tuning runs depends on their settings."""
    import wandb_workspaces.reports.v2 as wr

    score = "best/val_miou" if "best/val_miou" in keys.summary else "val/miou"
    if score not in keys.summary:
        return []
    return [
        wr.ParameterImportancePlot(with_respect_to=score),
        *(scatter(name, score) for name in ("lr", "ratio", "strength") if _varies(name, keys)),
        *coordinates(("arm", "lr", "ratio", "strength"), score, keys),
        *curves(("val/miou",), keys),
    ]


def _varies(setting: str, keys: Keys) -> bool:
    """Return whether runs differ in a setting that is positive: a logarithmic axis shows no other values."""
    numbers = [json.loads(value) for value in keys.config.get(setting, ())]
    return len({number for number in numbers if isinstance(number, int | float) and number > 0}) > 1
