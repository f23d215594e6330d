"""Metrics, and losses of hard predictions, against torchmetrics."""

import pytest
import torch
from torch import Tensor
from torchmetrics.functional import classification, log_cosh_error
from torchmetrics.functional.image import image_gradients
from torchmetrics.segmentation import GeneralizedDiceScore, MeanIoU

from seglab.losses import Dice, GeneralizedDice, GradientLoss, LogCoshDice
from seglab.metrics import CalibrationError, Scores, confusion_matrices, scores
from seglab.sample import IGNORE
from tests.losses.catalogue import drawn

C = 4
SEEDS = range(5)


def labels(seed: int, classes: int = C, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    """Prediction and mask (3,5,7) of the first `classes` classes."""
    generator = torch.Generator().manual_seed(seed)
    prediction, mask = torch.randint(0, classes, (2, 3, 5, 7), generator=generator)
    return prediction, mask.masked_fill(torch.rand(mask.shape, generator=generator) < ignored, IGNORE)


def found(prediction: Tensor, mask: Tensor, classes: int = C) -> Scores:
    return scores(confusion_matrices(prediction, mask, classes).sum(0))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("used", [C, C - 1])
def test_scores_of_each_class(seed: int, used: int) -> None:
    """A score that is undefined here is 0 there."""
    prediction, mask = labels(seed, used)
    ours = found(prediction, mask)
    theirs = {
        "iou": classification.multiclass_jaccard_index(prediction, mask, C, average="none", ignore_index=IGNORE),
        "dice": classification.multiclass_f1_score(prediction, mask, C, average="none", ignore_index=IGNORE),
        "precision": classification.multiclass_precision(prediction, mask, C, average="none", ignore_index=IGNORE),
        "recall": classification.multiclass_recall(prediction, mask, C, average="none", ignore_index=IGNORE),
    }
    for name, value in theirs.items():
        torch.testing.assert_close(ours.per_class[name].nan_to_num(0.0).float(), value)
    assert bool(ours.per_class["iou"][C - 1].isnan()) == (used < C)
    matrix = classification.multiclass_confusion_matrix(prediction, mask, C, ignore_index=IGNORE)
    assert torch.equal(ours.confusion, matrix)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("used", [C, C - 1])
def test_means_of_a_data_set(seed: int, used: int) -> None:
    prediction, mask = labels(seed, used)
    ours = found(prediction, mask).mean
    theirs = {
        "miou": classification.multiclass_jaccard_index(prediction, mask, C, average="macro", ignore_index=IGNORE),
        "dice": classification.multiclass_f1_score(prediction, mask, C, average="macro", ignore_index=IGNORE),
        "pixel_accuracy": classification.multiclass_accuracy(prediction, mask, C, average="micro", ignore_index=IGNORE),
        "class_accuracy": classification.multiclass_accuracy(prediction, mask, C, average="macro", ignore_index=IGNORE),
        "fwiou": classification.multiclass_jaccard_index(prediction, mask, C, average="weighted", ignore_index=IGNORE),
    }
    for name, value in theirs.items():
        assert ours[name].item() == pytest.approx(value.item(), abs=1e-6), name


@pytest.mark.parametrize("seed", SEEDS)
def test_two_classes_are_both_in_a_mean_and_the_second_is_torchmetrics_binary_score(seed: int) -> None:
    prediction, mask = labels(seed, 2)
    ours = found(prediction, mask, 2)
    binary = classification.binary_jaccard_index(prediction, mask, ignore_index=IGNORE).item()
    assert ours.per_class["iou"][1].item() == pytest.approx(binary)
    background = classification.binary_jaccard_index(1 - prediction, mask.where(mask == IGNORE, 1 - mask), ignore_index=IGNORE).item()
    assert ours.mean["miou"].item() == pytest.approx((binary + background) / 2)
    f1 = classification.binary_f1_score(prediction, mask, ignore_index=IGNORE).item()
    assert ours.per_class["dice"][1].item() == pytest.approx(f1)


def test_a_class_that_is_only_predicted_is_in_their_macro_accuracy_and_not_in_class_accuracy() -> None:
    prediction, mask = torch.tensor([[[0, 0, 1, 2]]]), torch.tensor([[[0, 0, 1, 1]]])
    assert found(prediction, mask, 3).mean["class_accuracy"].item() == pytest.approx((1 + 1 / 2) / 2)
    assert classification.multiclass_accuracy(prediction, mask, 3, average="macro").item() == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_their_segmentation_iou_is_a_mean_over_images() -> None:
    mask = torch.zeros(2, 4, 4, dtype=torch.int64)
    mask[0, 0, 0], mask[1, :2] = 1, 1
    prediction = mask.clone()
    prediction[0, 0, 0], prediction[0, 3, 3] = 0, 1
    metric = MeanIoU(num_classes=2, input_format="index", per_class=True)
    metric.update(prediction, mask)
    torch.testing.assert_close(metric.compute(), torch.tensor([(14 / 16 + 1) / 2, (0 + 1) / 2]))
    torch.testing.assert_close(found(prediction, mask, 2).per_class["iou"], torch.tensor([22 / 24, 8 / 10], dtype=torch.float64))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_of_several_classes(seed: int, bins: int) -> None:
    logits, mask = drawn(seed)
    metric = CalibrationError(bins)
    metric.update(3 * logits, mask)
    theirs = classification.multiclass_calibration_error((3 * logits).softmax(1), mask, 3, bins, "l1", ignore_index=IGNORE)
    assert metric.compute().item() == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_calibration_error_of_one_logit_bins_the_larger_probability(seed: int) -> None:
    """torchmetrics' binary error bins σ(z) and compares it with the share of foreground.

    Ours equals the multiclass error with two classes.
    """
    logits, mask = drawn(seed, classes=1, present=2)
    metric = CalibrationError(10)
    metric.update(3 * logits, mask)
    p = (3 * logits[:, 0]).sigmoid()
    as_two = classification.multiclass_calibration_error(torch.stack([1 - p, p], 1), mask, 2, 10, "l1", ignore_index=IGNORE).item()
    binary = classification.binary_calibration_error(p, mask, 10, "l1", ignore_index=IGNORE).item()
    assert metric.compute().item() == pytest.approx(as_two, abs=1e-6)
    assert metric.compute().item() != pytest.approx(binary, abs=1e-3)
    valid = mask != IGNORE
    index = (p[valid] * 10).ceil().long().clamp(1, 10)
    gaps = [(p[valid][index == b].sum() - mask[valid][index == b].sum()).abs().item() for b in range(1, 11)]
    assert binary == pytest.approx(sum(gaps) / int(valid.sum()), abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_hard_predictions_cost_one_minus_torchmetrics_scores(seed: int) -> None:
    prediction, mask = labels(seed, 3)
    prediction[:, 0, :3], mask[:, 0, :3] = torch.arange(3), torch.arange(3)
    hard = 200 * torch.nn.functional.one_hot(prediction, 3).movedim(-1, 1).float()
    f1 = classification.multiclass_f1_score(prediction, mask, 3, average="macro", ignore_index=IGNORE)
    assert Dice()(hard, mask).item() == pytest.approx(1 - f1.item(), abs=1e-6)
    assert LogCoshDice()(hard, mask).item() == pytest.approx(log_cosh_error(f1.view(1), torch.ones(1)).item(), abs=1e-6)
    whole = mask.where(mask != IGNORE, 0)
    score = GeneralizedDiceScore(num_classes=3, weight_type="square", input_format="index")
    score.update(prediction, whole)
    assert GeneralizedDice(reduction="image")(hard, whole).item() == pytest.approx(1 - score.compute().item(), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [1, 3])
def test_gradient_loss_is_the_mean_square_of_torchmetrics_image_gradients(seed: int, classes: int) -> None:
    """They are 0 in the last row and column, which the loss leaves out."""
    logits, mask = drawn(seed, ignored=0.0, classes=classes, present=2)
    both = torch.cat([torch.zeros_like(logits), logits], 1) if classes == 1 else logits
    error = both.softmax(1) - torch.nn.functional.one_hot(mask, both.shape[1]).movedim(-1, 1)
    down, right = image_gradients(error)
    expected = (down.square() + right.square())[..., :-1, :-1].mean()
    torch.testing.assert_close(GradientLoss()(logits, mask), expected)
    if classes == 1:
        down, right = image_gradients(error[:, 1:])
        torch.testing.assert_close(GradientLoss()(logits, mask), (down.square() + right.square())[..., :-1, :-1].mean())
