"""Losses and metrics against segmentation-models-pytorch, on drawn inputs."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglab.losses import CrossEntropy, Dice, Focal, FocalTversky, Jaccard, LogCoshDice, Lovasz, Tversky
from seglab.metrics import confusion_matrices, scores
from seglab.sample import IGNORE
from tests.losses.test_lovasz import extension
from tests.peers.comparison import Comparison, Loss, check_definition, check_different, check_equal, probabilities

SEVERAL, ONE = {"mode": "multiclass", "ignore_index": IGNORE}, {"mode": "binary", "ignore_index": IGNORE}
EXACT = {"eps": 1e-12}


def log_cosh(loss: nn.Module) -> Loss:
    return lambda logits, mask: loss(logits, mask).cosh().log()


def plain(name: str) -> dict[str, object]:
    """The options of a loss that knows no ignored pixels."""
    return {"mode": name}


EQUAL: dict[str, Comparison] = {
    "Dice": Comparison(Dice(), smp.losses.DiceLoss(**SEVERAL, **EXACT)),
    "Dice, void": Comparison(Dice(), smp.losses.DiceLoss(**SEVERAL, **EXACT), ignored=0.3),
    "Dice, smoothed by half": Comparison(Dice(2.0), smp.losses.DiceLoss(**SEVERAL, smooth=1.0), ignored=0.3),
    "Dice of one logit": Comparison(Dice(foreground_only=True), smp.losses.DiceLoss(**ONE, **EXACT), classes=1),
    "Dice of one logit, void": Comparison(Dice(foreground_only=True), smp.losses.DiceLoss(**ONE, **EXACT), classes=1, ignored=0.3),
    "Dice of one logit, smoothed": Comparison(
        Dice(2.0, foreground_only=True), smp.losses.DiceLoss(**ONE, smooth=1.0), classes=1, ignored=0.3
    ),
    "log-cosh Dice": Comparison(LogCoshDice(), log_cosh(smp.losses.DiceLoss(**SEVERAL, **EXACT)), ignored=0.3),
    "log-cosh Dice of one logit": Comparison(
        LogCoshDice(foreground_only=True), log_cosh(smp.losses.DiceLoss(**ONE, **EXACT)), classes=1, ignored=0.3
    ),
    "Jaccard": Comparison(Jaccard(), smp.losses.JaccardLoss(**plain("multiclass"), **EXACT)),
    "Jaccard of one logit": Comparison(Jaccard(foreground_only=True), smp.losses.JaccardLoss(**plain("binary"), **EXACT), classes=1),
    "Tversky, void": Comparison(Tversky(0.3, 0.7), smp.losses.TverskyLoss(**SEVERAL, **EXACT, alpha=0.3, beta=0.7), ignored=0.3),
    "Tversky of one logit, void": Comparison(
        Tversky(0.9, 0.2, foreground_only=True), smp.losses.TverskyLoss(**ONE, **EXACT, alpha=0.9, beta=0.2), classes=1, ignored=0.3
    ),
    "focal Tversky of one logit": Comparison(
        FocalTversky(0.3, 0.7, 0.75, foreground_only=True),
        smp.losses.TverskyLoss(**ONE, **EXACT, alpha=0.3, beta=0.7, gamma=0.75),
        classes=1,
        ignored=0.3,
    ),
    "focal of one logit": Comparison(Focal(2.0), smp.losses.FocalLoss(**ONE, gamma=2.0), classes=1),
    "focal of one logit, void": Comparison(Focal(0.5), smp.losses.FocalLoss(**ONE, gamma=0.5), classes=1, ignored=0.3),
    "cross-entropy with smoothing": Comparison(
        CrossEntropy(label_smoothing=0.1), smp.losses.SoftCrossEntropyLoss(smooth_factor=0.1, ignore_index=IGNORE)
    ),
    "Lovász, void": Comparison(Lovasz(), smp.losses.LovaszLoss(**SEVERAL), ignored=0.3),
    "Lovász, absent class": Comparison(Lovasz(), smp.losses.LovaszLoss(**SEVERAL), present=2),
    "Lovász of images, void": Comparison(Lovasz(reduction="image"), smp.losses.LovaszLoss(**SEVERAL, per_image=True), ignored=0.3),
}


def foreground_dice(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = (part[:, 1] for part in probabilities(logits, mask))
    return 1 - 2 * (p * y).sum() / (p.sum() + y.sum())


def absent_counts_zero(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = probabilities(logits, mask)
    return ((1 - 2 * (p * y).sum(0) / (p.sum(0) + y.sum(0))) * (y.sum(0) > 0)).mean()


def power_of_the_mean(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = probabilities(logits, mask)
    tp, fp, fn = (p * y).sum(0), (p * (1 - y)).sum(0), ((1 - p) * y).sum(0)
    return (1 - tp / (tp + 0.3 * fp + 0.7 * fn)).mean() ** 0.75


def one_sigmoid_each(logits: Tensor, mask: Tensor) -> Tensor:
    valid = mask != IGNORE
    z, y = logits.movedim(1, -1)[valid], F.one_hot(mask[valid], 3)
    p = torch.where(y == 1, z.sigmoid(), 1 - z.sigmoid())
    return (-((1 - p) ** 2) * p.log()).mean()


def smoothed_over_all_pixels(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = probabilities(logits, mask)
    return -((0.9 * y + 0.1 / 3) * p.log()).sum() / mask.numel()


def lovasz_hinge(logits: Tensor, mask: Tensor) -> Tensor:
    errors = (1 - logits[:, 0] * (2 * mask - 1)).clamp(min=0).flatten().double().numpy()
    return torch.tensor(extension(errors, set(np.flatnonzero(mask.flatten())))).float()


DIFFERENT: dict[str, Comparison] = {
    "Dice of one logit": Comparison(
        Dice(), smp.losses.DiceLoss(**ONE, **EXACT), 1, because="the foreground alone", definition=foreground_dice
    ),
    "Dice, absent class": Comparison(
        Dice(), smp.losses.DiceLoss(**SEVERAL, **EXACT), present=2, because="an absent class counts 0", definition=absent_counts_zero
    ),
    "focal Tversky": Comparison(
        FocalTversky(0.3, 0.7, 0.75),
        smp.losses.TverskyLoss(**SEVERAL, **EXACT, alpha=0.3, beta=0.7, gamma=0.75),
        because="γ outside of the mean over classes",
        definition=power_of_the_mean,
    ),
    "focal": Comparison(
        Focal(2.0),
        smp.losses.FocalLoss(**SEVERAL, gamma=2.0),
        ignored=0.3,
        because="one sigmoid for each class, and a mean over classes",
        definition=one_sigmoid_each,
    ),
    "cross-entropy with smoothing, void": Comparison(
        CrossEntropy(label_smoothing=0.1),
        smp.losses.SoftCrossEntropyLoss(smooth_factor=0.1, ignore_index=IGNORE),
        ignored=0.3,
        because="divides by all pixels, ignored ones too",
        definition=smoothed_over_all_pixels,
    ),
    "Lovász of one logit": Comparison(
        Lovasz(foreground_only=True),
        smp.losses.LovaszLoss(**ONE),
        classes=1,
        because="hinge errors of the logit in place of errors of the probability",
        definition=lovasz_hinge,
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_loss_and_gradient_are_smps(name: str) -> None:
    check_equal(EQUAL[name])


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_loss_that_differs_by_definition(name: str) -> None:
    check_different(DIFFERENT[name])
    check_definition(DIFFERENT[name])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("name", "theirs"), [("iou", "iou_score"), ("dice", "f1_score"), ("precision", "precision"), ("recall", "recall")])
def test_scores_of_a_data_set_are_smps(seed: int, name: str, theirs: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, mask = torch.randint(0, 3, (2, 4, 6, 7), generator=generator)
    mask = mask.masked_fill(torch.rand(mask.shape, generator=generator) < 0.3, IGNORE)
    counts = smp.metrics.get_stats(prediction, mask, mode="multiclass", num_classes=3, ignore_index=IGNORE)
    found = scores(confusion_matrices(prediction, mask, 3).sum(0))
    of_each = [getattr(smp.metrics, theirs)(*(count[:, [c]] for count in counts), reduction="micro") for c in range(3)]
    torch.testing.assert_close(found.per_class[name].float(), torch.stack(of_each))
