"""Means over single images, against loops over single pixels' counts."""

import math
from statistics import fmean

import pytest
import torch
from torch import Tensor

from seglab.evaluation import Evaluation
from seglab.metrics import ConfusionMatrix, image_scores
from seglab.sample import IGNORE, Batch


def drawn(images: int, classes: int, seed: int) -> Tensor:
    """Confusion matrices of images in which many classes are absent, and one image without a valid pixel."""
    generator = torch.Generator().manual_seed(seed)
    matrices = torch.randint(0, 50, (images, classes, classes), generator=generator)
    kept = torch.rand(images, classes, generator=generator) < 0.6
    matrices = matrices * kept[:, :, None] * (torch.rand(images, 1, classes, generator=generator) < 0.7)
    matrices[0] = 0
    return matrices


def of_one_image(matrix: list[list[int]], twice: bool) -> float | None:
    """Return mIoU, or the mean Dice if `twice`, over the classes in truth or prediction, as the definition says."""
    found = []
    for c, row in enumerate(matrix):
        hit, truth, predicted = row[c], sum(row), sum(other[c] for other in matrix)
        if truth + predicted > 0:
            found.append(2 * hit / (truth + predicted) if twice else hit / (truth + predicted - hit))
    return fmean(found) if found else None


@pytest.mark.parametrize("images", [1, 2, 9, 10, 19, 20, 57])
@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_means_over_images(images: int, classes: int) -> None:
    matrices = drawn(images, classes, seed=images)
    ious = sorted(iou for matrix in matrices.tolist() if (iou := of_one_image(matrix, twice=False)) is not None)
    dices = [dice for matrix in matrices.tolist() if (dice := of_one_image(matrix, twice=True)) is not None]
    found = {name: value.item() for name, value in image_scores(matrices).items()}
    if not ious:
        assert all(math.isnan(value) for value in found.values())
        return
    worst = fmean(ious[: max(1, len(ious) // 10)])
    assert found == pytest.approx({"image_miou": fmean(ious), "image_dice": fmean(dices), "image_miou_worst10": worst}, abs=1e-12)


def test_the_order_of_the_images_changes_no_bit() -> None:
    matrices = drawn(200, 4, seed=1)
    expected = image_scores(matrices)
    for seed in range(20):
        order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
        assert image_scores(matrices[order]) == expected


def test_a_small_image_counts_as_much_as_a_large_one() -> None:
    small_wrong, large_right = [[0, 4], [0, 0]], [[4000, 0], [0, 0]]
    metric = ConfusionMatrix(2, per_image=True)
    metric.matrix += torch.tensor(small_wrong) + torch.tensor(large_right)
    metric.images.append(torch.tensor([small_wrong, large_right], dtype=torch.int32))
    metric._update_count = 1
    found = metric.compute().mean
    assert (found["image_miou"].item(), found["image_miou_worst10"].item()) == (0.5, 0.0)
    assert found["miou"].item() == pytest.approx(4000 / 4004 / 2)


def test_only_an_evaluation_of_images_has_them() -> None:
    metric = ConfusionMatrix(2)
    metric.update(torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 2, dtype=torch.int64))
    assert not any(name.startswith("image") for name in metric.compute().mean)
    evaluation = Evaluation(3, IGNORE)
    mask = torch.tensor([[[0, 1], [2, IGNORE]], [[0, 0], [0, 0]]], dtype=torch.uint8)
    size = torch.tensor([[2, 2]] * 2)
    logits = torch.nn.functional.one_hot(torch.zeros(2, 2, 2, dtype=torch.int64), 3).movedim(-1, 1).float()
    evaluation.update(logits, Batch(torch.zeros(2, 3, 2, 2), mask, ("a", "b"), size, size))
    found = evaluation.scores().mean
    assert set(found) == set(evaluation.score_names()[0])
    assert found["image_miou"].item() == pytest.approx(((1 / 3 + 0 + 0) / 3 + 1) / 2)  # class 0 is predicted everywhere
