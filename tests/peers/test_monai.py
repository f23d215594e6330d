"""Losses and metrics against MONAI, on drawn inputs and on the cases of its own tests."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglab.losses import (
    BoundaryLoss,
    CrossEntropy,
    Dice,
    Focal,
    GeneralizedDice,
    HausdorffDT,
    Jaccard,
    Tversky,
    WeightedSum,
)
from seglab.metrics import confusion_matrices, scores
from seglab.sample import IGNORE
from tests.losses.test_distance_losses import authors_field
from tests.peers.comparison import Comparison, Loss, check_definition, check_different, check_equal, probabilities

REASON = "MONAI is not installed: pip install -e '.[peers]'"
losses = pytest.importorskip("monai.losses", reason=REASON)
metrics = pytest.importorskip("monai.metrics", reason=REASON)
pytestmark = pytest.mark.filterwarnings("ignore")  # those of MONAI

NO_SMOOTHING = {"smooth_nr": 0.0, "smooth_dr": 0.0}


def theirs(make: Callable[..., nn.Module], **options: object) -> Loss:
    """MONAI's loss for labels: one-hot truth and a softmax for several logits, a sigmoid for one."""

    def loss(logits: Tensor, mask: Tensor) -> Tensor:
        activation = {"sigmoid": True} if logits.shape[1] == 1 else {"softmax": True, "to_onehot_y": True}
        target = mask.unsqueeze(1)
        value: Tensor = make(**activation, **options)(logits, target if logits.shape[1] > 1 else target.float())
        return value

    return loss


def focal(**options: object) -> Loss:
    def loss(logits: Tensor, mask: Tensor) -> Tensor:
        several = {"use_softmax": True, "to_onehot_y": True} if logits.shape[1] > 1 else {}
        target = mask.unsqueeze(1)
        value: Tensor = losses.FocalLoss(**several, **options)(logits, target if several else target.float())
        return value

    return loss


def times(factor: float, loss: Loss) -> Loss:
    return lambda logits, mask: factor * loss(logits, mask)


VOID = {"ignore_index": IGNORE}

EQUAL: dict[str, Comparison] = {
    "Dice of images": Comparison(Dice(1e-5, reduction="image"), theirs(losses.DiceLoss)),
    "Dice of the batch": Comparison(Dice(1e-5), theirs(losses.DiceLoss, batch=True)),
    "Dice of images, void": Comparison(Dice(1e-5, reduction="image"), theirs(losses.DiceLoss, **VOID), ignored=0.3),
    "Dice of the batch, void": Comparison(Dice(1e-5), theirs(losses.DiceLoss, batch=True, **VOID), ignored=0.3),
    "Dice, smoothed": Comparison(Dice(2.0), theirs(losses.DiceLoss, batch=True, smooth_nr=2.0, smooth_dr=2.0)),
    "Dice of one logit, images": Comparison(Dice(1e-5, reduction="image", foreground_only=True), theirs(losses.DiceLoss), classes=1),
    "Dice of one logit, batch": Comparison(Dice(1e-5, foreground_only=True), theirs(losses.DiceLoss, batch=True), classes=1),
    "Dice of one logit, void": Comparison(
        Dice(1e-5, foreground_only=True), theirs(losses.DiceLoss, batch=True, **VOID), classes=1, ignored=0.3
    ),
    "Jaccard of images": Comparison(Jaccard(5e-6, reduction="image"), theirs(losses.DiceLoss, jaccard=True)),
    "Jaccard of the batch, void": Comparison(Jaccard(5e-6), theirs(losses.DiceLoss, jaccard=True, batch=True, **VOID), ignored=0.3),
    "Jaccard of one logit": Comparison(Jaccard(5e-6, foreground_only=True), theirs(losses.DiceLoss, jaccard=True, batch=True), classes=1),
    "Tversky of images": Comparison(Tversky(0.3, 0.7, 1e-5, reduction="image"), theirs(losses.TverskyLoss, alpha=0.3, beta=0.7)),
    "Tversky of the batch, void": Comparison(
        Tversky(0.9, 0.2, 1e-5), theirs(losses.TverskyLoss, alpha=0.9, beta=0.2, batch=True, **VOID), ignored=0.3
    ),
    "Tversky of one logit": Comparison(
        Tversky(0.3, 0.7, 1e-5, foreground_only=True), theirs(losses.TverskyLoss, alpha=0.3, beta=0.7, batch=True), classes=1
    ),
    "generalized Dice of images": Comparison(GeneralizedDice(reduction="image"), theirs(losses.GeneralizedDiceLoss, **NO_SMOOTHING)),
    "generalized Dice of the batch": Comparison(GeneralizedDice(), theirs(losses.GeneralizedDiceLoss, batch=True, **NO_SMOOTHING)),
    "generalized Dice of one logit is Dice of its foreground": Comparison(
        Dice(foreground_only=True), theirs(losses.GeneralizedDiceLoss, batch=True, **NO_SMOOTHING), classes=1
    ),
    "focal, a mean over classes too": Comparison(Focal(2.0), times(3, focal(gamma=2.0))),
    "focal with γ = ½": Comparison(Focal(0.5), times(3, focal(gamma=0.5))),
    "focal, void: a mean over valid pixels alone": Comparison(Focal(2.0), focal(gamma=2.0, **VOID), ignored=0.3),
    "focal of one logit": Comparison(Focal(2.0), focal(gamma=2.0), classes=1),
    "focal of one logit, void": Comparison(Focal(1.5), focal(gamma=1.5, **VOID), classes=1, ignored=0.3),
    "boundary": Comparison(BoundaryLoss(), theirs(losses.BoundaryLoss)),
    "boundary, absent class": Comparison(BoundaryLoss(), theirs(losses.BoundaryLoss), present=2),
    "boundary of one logit": Comparison(BoundaryLoss(foreground_only=True), theirs(losses.BoundaryLoss), classes=1),
    "Hausdorff": Comparison(HausdorffDT(), theirs(losses.HausdorffDTLoss, include_background=True)),
    "Hausdorff, α = 1, absent class": Comparison(
        HausdorffDT(1.0), theirs(losses.HausdorffDTLoss, alpha=1.0, include_background=True), present=2
    ),
    "Hausdorff of one logit": Comparison(HausdorffDT(), theirs(losses.HausdorffDTLoss), classes=1),
    "Dice and cross-entropy": Comparison(
        WeightedSum({"dice": Dice(1e-5), "ce": CrossEntropy()}, {"dice": 1.0, "ce": 0.5}),
        theirs(losses.DiceCELoss, batch=True, lambda_ce=0.5),
    ),
}


def absent_counts_one(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = probabilities(logits, mask)
    return (1 - (2 * (p * y).sum(0) + 1e-5) / (p.sum(0) + y.sum(0) + 1e-5)).mean()


def foreground_dice(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = (part[:, 1] for part in probabilities(logits, mask))
    return 1 - 2 * (p * y).sum() / (p.sum() + y.sum())


def squared_dice(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = probabilities(logits, mask)
    return (1 - (2 * (p * y).sum(0) + 1e-5) / (p.square().sum(0) + y.sum(0) + 1e-5)).mean()


def generalized_with_absent(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = probabilities(logits, mask)
    w = 1 / y.sum(0).square()
    w = w.where(w.isfinite(), w[w.isfinite()].max())
    return 1 - 2 * (w * (p * y).sum(0)).sum() / (w * (p.sum(0) + y.sum(0))).sum()


def one_sigmoid_each(logits: Tensor, mask: Tensor) -> Tensor:
    y = F.one_hot(mask, logits.shape[1]).movedim(-1, 1).float()
    p = (logits.sigmoid() * y + (1 - logits.sigmoid()) * (1 - y)).double()
    return (-((1 - p) ** 2) * p.log()).mean().float()


def focal_alpha(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = probabilities(logits, mask)
    true = (p * y).sum(1)
    return -(torch.tensor([0.2, 0.8, 0.8])[y.argmax(1)] * (1 - true).square() * true.log()).mean() / 3


def hausdorff_without_background(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = logits.softmax(1), F.one_hot(mask, 3).movedim(-1, 1)
    fields = [
        torch.tensor(np.array([[authors_field(inside) for inside in image[1:].numpy()] for image in sets])) for sets in (p > 0.5, y == 1)
    ]
    return ((p - y)[:, 1:].square() * (fields[0].square() + fields[1].square())).mean().float()


DIFFERENT: dict[str, Comparison] = {
    "Hausdorff by default": Comparison(
        HausdorffDT(),
        theirs(losses.HausdorffDTLoss),
        because="leaves the background out, unless include_background=True",
        definition=hausdorff_without_background,
    ),
    "Dice of one logit": Comparison(
        Dice(), theirs(losses.DiceLoss, batch=True, **NO_SMOOTHING), 1, because="the foreground alone", definition=foreground_dice
    ),
    "generalized Dice of one logit": Comparison(
        GeneralizedDice(),
        theirs(losses.GeneralizedDiceLoss, batch=True, **NO_SMOOTHING),
        1,
        because="the foreground alone, whose weight cancels",
        definition=foreground_dice,
    ),
    "Dice, absent class": Comparison(
        Dice(1e-5), theirs(losses.DiceLoss, batch=True), present=2, because="an absent class costs 1", definition=absent_counts_one
    ),
    "Dice of squares": Comparison(
        Dice(1e-5), theirs(losses.DiceLoss, batch=True, squared_pred=True), because="p² in the denominator", definition=squared_dice
    ),
    "generalized Dice, absent class": Comparison(
        GeneralizedDice(),
        theirs(losses.GeneralizedDiceLoss, batch=True, **NO_SMOOTHING),
        present=2,
        because="an absent class has the largest weight of the others",
        definition=generalized_with_absent,
    ),
    "focal with a sigmoid for each class": Comparison(
        Focal(2.0),
        lambda logits, mask: losses.FocalLoss(to_onehot_y=True)(logits, mask.unsqueeze(1)),
        because="one sigmoid for each class, and a mean over classes",
        definition=one_sigmoid_each,
    ),
    "focal with weights": Comparison(
        Focal(2.0, weight=[0.2, 0.8, 0.8]),
        focal(gamma=2.0, alpha=0.8),
        because="divides by the number of pixels and classes, not by the sum of the weights",
        definition=focal_alpha,
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_loss_and_gradient_are_monais(name: str) -> None:
    check_equal(EQUAL[name])


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_loss_that_differs_by_definition(name: str) -> None:
    check_different(DIFFERENT[name])
    check_definition(DIFFERENT[name])


SQUARE = [[[[1.0, -1.0], [-1.0, 1.0]]]]
CORNER = [[[1, 0], [1, 1]]]
TWO_MASKS = [[[1, 1], [1, 1]], [[1, 0], [1, 0]]]
ROWS = [[[[-1.0, 0.0, 1.0]], [[1.0, 0.0, -1.0]]], [[[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]]
LABELS = [[[1, 0, 0]], [[1, 1, 0]]]
ALIKE = [[[[1.0, 1.0], [0.5, 0.0]]] * 3]

PUBLISHED: dict[str, tuple[nn.Module, object, object, float]] = {
    "test_dice_loss.py, one logit": (Dice(1e-6, foreground_only=True), SQUARE, CORNER, 0.307576),
    "test_dice_loss.py, two images": (Dice(1e-4, reduction="image", foreground_only=True), SQUARE * 2, TWO_MASKS, 0.416657),
    "test_dice_loss.py, softmax": (Dice(1e-4, reduction="image"), ROWS, LABELS, 0.383713),
    "test_dice_loss.py, jaccard": (Jaccard(5e-6, foreground_only=True), SQUARE, CORNER, 0.470451),
    "test_tversky_loss.py, one logit": (Tversky(0.5, 0.5, 1e-6, foreground_only=True), SQUARE, CORNER, 0.307576),
    "test_tversky_loss.py, α = 0.3": (Tversky(0.3, 0.7, 1e-6, foreground_only=True), SQUARE, CORNER, 0.3589),
    "test_tversky_loss.py, α = 0.7": (Tversky(0.7, 0.3, 1e-6, foreground_only=True), SQUARE, CORNER, 0.247366),
    "test_tversky_loss.py, two images": (
        Tversky(0.5, 0.5, 1e-4, reduction="image", foreground_only=True),
        SQUARE * 2,
        TWO_MASKS,
        0.416657,
    ),
    "test_tversky_loss.py, softmax": (Tversky(0.5, 0.5, 1e-4, reduction="image"), ROWS, LABELS, 0.383713),
    "test_generalized_dice_loss.py, one logit": (Dice(1e-6, foreground_only=True), SQUARE, CORNER, 0.307576),
    "test_focal_loss.py, softmax": (Focal(2.0), ALIKE, [[[0, 1], [2, 0]]], 3 * 0.16276),
    "test_hausdorff_loss.py, one logit": (HausdorffDT(), SQUARE, CORNER, 0.509329),
    "test_hausdorff_loss.py, two images": (HausdorffDT(), SQUARE * 2, TWO_MASKS, 0.455082),
    "test_hausdorff_loss.py, softmax": (HausdorffDT(), ROWS, LABELS, 0.357016),
}
"""Cases of tests/losses of MONAI's repository: the file, our loss, logits, mask and the expected number."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str) -> None:
    loss, logits, mask, expected = PUBLISHED[name]
    assert loss(torch.tensor(logits), torch.tensor(mask)).item() == pytest.approx(expected, abs=5e-5)


def test_published_number_of_the_generalized_dice() -> None:
    """Case "softmax" of test_generalized_dice_loss.py.

    It adds 10⁻⁴ to numerator and denominator, which is 2 at least.
    """
    found = GeneralizedDice(reduction="image")(torch.tensor(ROWS), torch.tensor(LABELS)).item()
    assert found == pytest.approx(0.414507, abs=5e-5)


def one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, 3).movedim(-1, 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("name", "theirs"), [("iou", "compute_iou"), ("dice", "compute_dice")])
def test_scores_of_an_image_are_monais(seed: int, name: str, theirs: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, mask = torch.randint(0, 3, (2, 4, 6, 7), generator=generator)
    expected = getattr(metrics, theirs)(one_hot(prediction), one_hot(mask))
    found = scores(confusion_matrices(prediction, mask, 3)).per_class[name]
    torch.testing.assert_close(found.float(), expected.float())


@pytest.mark.parametrize(("name", "theirs"), [("miou", "MeanIoU"), ("dice", "DiceMetric")])
def test_scores_of_a_data_set_are_not_monais_means_over_images(name: str, theirs: str) -> None:
    """MONAI's mean over images weighs small objects like large ones in other images; here pixels are summed first."""
    mask = torch.zeros(2, 4, 4, dtype=torch.int64)
    mask[0, 0, 0], mask[1, :2] = 1, 1
    prediction = mask.clone()
    prediction[0, 0, 0], prediction[0, 3, 3] = 0, 1
    metric = getattr(metrics, theirs)(include_background=False)
    metric(F.one_hot(prediction, 2).movedim(-1, 1), F.one_hot(mask, 2).movedim(-1, 1))
    assert metric.aggregate().item() == pytest.approx((0 + 1) / 2)
    found = scores(confusion_matrices(prediction, mask, 2).sum(0)).per_class["iou" if name == "miou" else "dice"][1]
    assert found.item() == pytest.approx(8 / 10 if name == "miou" else 16 / 18)


def test_a_class_that_is_only_predicted_counts_zero_here_and_nothing_there() -> None:
    mask, prediction = torch.zeros(1, 2, 2, dtype=torch.int64), torch.tensor([[[1, 0], [0, 0]]])
    assert metrics.compute_iou(one_hot(prediction), one_hot(mask))[0, 1].isnan()
    assert scores(confusion_matrices(prediction, mask, 3)).per_class["iou"][0, 1] == 0
