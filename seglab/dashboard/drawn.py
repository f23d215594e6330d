"""The pictures of report.html at W&B.

A run of its own holds them, with the phase `report`, and the report at W&B shows this run.
"""

import contextlib
import io
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglab.compare import Findings
from seglab.compare.plots import interaction
from seglab.compare.plots.picture import Picture
from seglab.compare.report import PICTURES
from seglab.dashboard.logged import Logged
from seglab.wandb_names import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASE = "report"
"""Phase of the run, by which the panels of trainings leave it out."""

DPI = 150
START_SECONDS, FINISH_SECONDS = 30.0, 60.0
"""Longest waits for W&B, at the start and at the end of the run."""


@dataclass(frozen=True)
class Drawn:
    """A picture of report.html, or one for each arm."""

    title: str
    caption: str
    images: "Sequence[tuple[Figure | Path, str]]"
    """Each image, drawn or as the path of a PNG, with its own caption."""

    @property
    def key(self) -> str:
        """Return the name under which the run logs the images.

        >>> Drawn("Curves: val/miou", "", ()).key
        'report/curves_val_miou'
        """
        return "report/" + re.sub("[^a-z0-9]+", "_", self.title.lower()).strip("_")


@dataclass(frozen=True)
class Gallery:
    """All pictures of a report, and the id of the run that holds them at W&B."""

    run_id: str
    pictures: Sequence[Drawn]


def drawn(found: Findings) -> list[Drawn]:
    """Return the pictures of report.html in their order, the predictions of each arm last."""
    plots: list[Picture | None] = [
        None if found.factors is None else interaction.picture(found.factors),
        *(make(found) for make in PICTURES),
    ]
    made = [Drawn(plot.title, plot.caption, [(plot.figure, plot.title)]) for plot in plots if plot is not None]
    predictions = list(_predictions(found))
    return [*made, Drawn("Predictions", "Test images, their truth and the prediction of each arm.", predictions)] if predictions else made


def _predictions(found: Findings) -> Iterator[tuple[Path, str]]:
    """Yield the picture of predictions of each arm's run with the lowest seed, as far as the run has one."""
    for arm in (summary.arm for summary in found.comparison.arms):
        run = min((result.run for result in found.study.results if result.run.arm == arm), key=lambda run: run.seed)
        path = run.directory(found.study.folder) / "predictions.png"
        if path.is_file():
            yield path, f"{arm}, seed {run.seed}"


def upload(gallery: Gallery, logged: Logged) -> None:
    """Log the pictures to W&B, as the next row of their run.

    Raises:
        wandb.errors.Error, TimeoutError: W&B cannot be reached, or does not take them.
    """
    import wandb

    quiet = contextlib.redirect_stderr(io.StringIO())  # of an error W&B prints several lines, and raises it too
    with quiet, tempfile.TemporaryDirectory(prefix="seglab-report-") as place:
        run = wandb.init(
            entity=logged.entity or None,
            project=logged.project,
            dir=place,
            id=gallery.run_id,
            resume="allow",
            name=shortened(f"{logged.record.study}/report"),
            job_type=PHASE,
            config={"study": logged.record.study, "phase": PHASE, "identity": gallery.run_id},
            mode="online",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                x_disable_stats=True,
                init_timeout=START_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        run.log({one.key: [wandb.Image(_png(image), caption=caption) for image, caption in one.images] for one in gallery.pictures})
        run.finish()


def _png(image: "Figure | Path") -> Any:
    """Return an image as W&B takes it."""
    if isinstance(image, Path):
        return str(image)
    from PIL import Image

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a letter of a name that no installed font has
        image.savefig(file, format="png", dpi=DPI, facecolor="white", bbox_inches="tight")
    return Image.open(file)


def panels(gallery: Gallery) -> list[Any]:
    """Return a panel for each picture, two in a row."""
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.MediaBrowser(
            title=one.title,
            media_keys=[one.key],
            mode="gallery",
            gallery_axis="index",
            layout=wr.Layout(x=12 * (place % 2), y=10 * (place // 2), w=12, h=10),
        )
        for place, one in enumerate(gallery.pictures)
    ]


def captions(gallery: Gallery) -> str:
    """Return the captions of the pictures as Markdown."""
    return "\n".join(f"- **{one.title}**: {one.caption}" for one in gallery.pictures)
