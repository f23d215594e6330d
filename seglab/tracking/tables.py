"""Tables, pictures and values of a finished run for W&B, from its result, its confusion matrices and its pictures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seglab.callbacks.sheet import Classes, PredictedImage
from seglab.metrics import confusion_matrices, scores
from seglab.records import Result
from seglab.tracking.confusion_picture import confusion_picture

CLASS_COLUMNS = ("study", "arm", "seed", "class", "frequency", "iou", "dice", "precision", "recall")
CONFUSION_COLUMNS = ("truth", "prediction", "pixels", "share")
IMAGE_COLUMNS = ("name", "image", "truth", "prediction", "miou", "worst class")


@dataclass(frozen=True)
class End:
    """Scores of a trained network."""

    result: Result
    confusion: NDArray[np.int64] | None = None
    """Confusion matrix (C,C) of the test split, truth × prediction; None without a test."""


def of_end(end: End) -> dict[str, Any]:
    """Return the test split's tables of classes and of the confusion matrix, and its picture; empty without a test.

    The picture shows the confusion matrix. Its table is left out if it has more rows than W&B takes.
    """
    import wandb

    result, matrix = end.result, end.confusion
    if matrix is None:
        return {}
    found: dict[str, Any] = {
        "test/classes": wandb.Table(columns=list(CLASS_COLUMNS), data=list(class_rows(result))),
        "test/confusion_picture": wandb.Image(confusion_picture(matrix, result.class_names)),
    }
    if matrix.size <= wandb.Table.MAX_ARTIFACT_ROWS:
        wandb.Table.MAX_ROWS = max(wandb.Table.MAX_ROWS, matrix.size)  # else W&B cuts a table of more than 100 classes
        found["test/confusion"] = wandb.Table(columns=list(CONFUSION_COLUMNS), data=list(confusion_rows(matrix, result.class_names)))
    return found


def class_rows(result: Result) -> Iterator[list[Any]]:
    """Yield a row of `CLASS_COLUMNS` for each class of the test split."""
    per_class = result.per_class["test"]
    for place, label in enumerate(result.class_names):
        yield [result.run.study, result.run.arm, result.run.seed, label, *(per_class[name][place] for name in CLASS_COLUMNS[4:])]


def confusion_rows(matrix: NDArray[np.int64], names: Sequence[str]) -> Iterator[list[Any]]:
    """Yield a row of `CONFUSION_COLUMNS` for each cell of a confusion matrix (C,C).

    `share` is the fraction of the true class's pixels, and NaN if the class has no true pixels.
    """
    for truth, row in zip(names, matrix, strict=True):
        pixels = int(row.sum())
        for prediction, count in zip(names, row, strict=True):
            yield [truth, prediction, int(count), int(count) / pixels if pixels else float("nan")]


def image_table(pictures: Sequence[PredictedImage], classes: Classes) -> Any:
    """Return a table of `IMAGE_COLUMNS`, a row for each picture.

    Masks that can be switched on lie on `image`; the others are coloured.
    """
    import wandb

    rows: list[Iterable[Any]] = []
    for picture, image in zip(pictures, images(pictures, classes), strict=True):
        truth, prediction = (wandb.Image(coloured(mask, classes)) for mask in (picture.truth, picture.prediction))
        rows.append([picture.name, image, truth, prediction, *scores_of(picture, classes)])
    return wandb.Table(columns=list(IMAGE_COLUMNS), data=rows)


def scores_of(picture: PredictedImage, classes: Classes) -> tuple[float, str]:
    """Return a picture's mIoU and the name of its class with the lowest IoU.

    Only classes in the truth or the prediction are considered, and the name is empty if there are none.
    """
    mask, prediction = (torch.from_numpy(labels)[None] for labels in (picture.truth, picture.prediction))
    found = scores(confusion_matrices(prediction, mask, len(classes.palette), classes.ignore_index)[0])
    iou = found.per_class["iou"]
    worst = "" if iou.isnan().all() else str(classes.names[int(iou.nan_to_num(nan=2.0).argmin())])
    return float(found.mean["miou"]), worst


def images(pictures: Sequence[PredictedImage], classes: Classes) -> list[Any]:
    """Return pictures as W&B images of the size of their masks.

    Truth and prediction can be switched on and off in the viewer.
    """
    import wandb

    labels = dict(enumerate(classes.names)) | {classes.ignore_index % 256: "ignored"}
    found = []
    for picture in pictures:
        masks = {
            name: {"mask_data": mask.astype(np.uint8), "class_labels": labels}
            for name, mask in (("truth", picture.truth), ("prediction", picture.prediction))
        }
        found.append(wandb.Image(at_mask_size(picture), masks=masks, caption=picture.name))
    return found


def at_mask_size(picture: PredictedImage) -> NDArray[np.uint8]:
    """Return the image (H',W',3) of a picture at the size of its masks."""
    pixels = torch.from_numpy(picture.image).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(pixels, picture.truth.shape, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).byte().numpy()


def coloured(mask: NDArray[np.int64], classes: Classes) -> NDArray[np.uint8]:
    """Return a mask (H',W') in the colours of its classes, (H',W',3); ignored pixels are black."""
    colours = np.zeros((*mask.shape, 3), np.uint8)
    valid = mask != classes.ignore_index
    colours[valid] = classes.palette[mask[valid]]
    return colours


def strip(picture: PredictedImage, classes: Classes) -> NDArray[np.uint8]:
    """Return the image of a picture, its truth and its prediction side by side, (H',3·W',3)."""
    return np.concatenate([at_mask_size(picture), coloured(picture.truth, classes), coloured(picture.prediction, classes)], axis=1)
