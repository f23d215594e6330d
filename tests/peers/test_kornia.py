"""Losses and metrics against kornia, on drawn inputs and on the cases of its own tests."""

import numpy as np
import pytest
import torch
from torch import Tensor

from seglab.losses import Dice, Focal, GradientLoss, Lovasz, Tversky
from seglab.metrics import confusion_matrices, scores
from seglab.sample import IGNORE
from tests.losses.test_lovasz import extension
from tests.peers.comparison import Comparison, Loss, check_definition, check_different, check_equal, probabilities, value_and_gradient

REASON = "kornia is not installed: pip install -e '.[peers]'"
losses = pytest.importorskip("kornia.losses", reason=REASON)
metrics = pytest.importorskip("kornia.metrics", reason=REASON)
pytestmark = pytest.mark.filterwarnings("ignore")  # those of kornia


def dice(**options: object) -> Loss:
    return lambda logits, mask: losses.dice_loss(logits, mask, ignore_index=IGNORE, **options)


def tversky(alpha: float, beta: float) -> Loss:
    return lambda logits, mask: losses.tversky_loss(logits, mask, alpha, beta, ignore_index=IGNORE)


def focal(gamma: float, factor: float = 1.0) -> Loss:
    return lambda logits, mask: factor * losses.focal_loss(logits, mask, alpha=None, gamma=gamma, reduction="mean", ignore_index=IGNORE)


def binary_focal(gamma: float) -> Loss:
    return lambda logits, mask: losses.binary_focal_loss_with_logits(
        logits, mask.unsqueeze(1).float(), alpha=None, gamma=gamma, reduction="mean", ignore_index=IGNORE
    )


EQUAL: dict[str, Comparison] = {
    "Dice of images": Comparison(Dice(reduction="image"), dice(average="macro")),
    "Dice of images, void": Comparison(Dice(reduction="image"), dice(average="macro"), ignored=0.3),
    "Dice of images, absent class": Comparison(Dice(reduction="image"), dice(average="macro"), present=2),
    "Tversky of images": Comparison(Tversky(0.3, 0.7, reduction="image"), tversky(0.3, 0.7)),
    "Tversky of images, void": Comparison(Tversky(0.9, 0.2, reduction="image"), tversky(0.9, 0.2), ignored=0.3),
    "Tversky of images, absent class": Comparison(Tversky(0.3, 0.7, reduction="image"), tversky(0.3, 0.7), present=2),
    "focal, a mean over classes too": Comparison(Focal(2.0), focal(2.0, factor=3)),
    "focal with γ = 0.1": Comparison(Focal(0.1), focal(0.1, factor=3)),
    "focal of one logit": Comparison(Focal(2.0), binary_focal(2.0), classes=1),
    "focal of one logit with γ = ½": Comparison(Focal(0.5), binary_focal(0.5), classes=1),
    "Lovász of images": Comparison(Lovasz(reduction="image"), losses.lovasz_softmax_loss),
}


def micro_dice(logits: Tensor, mask: Tensor) -> Tensor:
    """The same for all classes together: a share of pixels, in which classes count by their size."""
    found = []
    for image, labels in zip(logits.split(1), mask.split(1), strict=True):
        p, y = probabilities(image, labels)
        found.append(1 - 2 * (p * y).sum() / (p.sum() + y.sum()))
    return torch.stack(found).mean()


def focal_over_all_pixels(logits: Tensor, mask: Tensor) -> Tensor:
    p, y = probabilities(logits, mask)
    true = (p * y).sum(1)
    return -((1 - true).square() * true.log()).sum() / (3 * mask.numel())


def lovasz_of_all_classes(logits: Tensor, mask: Tensor) -> Tensor:
    found = []
    for image, labels in zip(logits.split(1), mask.split(1), strict=True):
        p, y = (part.double().numpy() for part in probabilities(image, labels))
        found += [extension(np.abs(y[:, c] - p[:, c]), set(np.flatnonzero(y[:, c]))) if y[:, c].any() else p[:, c].max() for c in range(3)]
    return torch.tensor(np.mean(found)).float()


def lovasz_hinge(logits: Tensor, mask: Tensor) -> Tensor:
    errors = (1 - logits[:, 0] * (2 * mask - 1)).clamp(min=0).flatten(1).double().numpy()
    truths = [set(np.flatnonzero(labels).tolist()) for labels in mask.flatten(1).numpy()]
    return torch.tensor(np.mean([extension(e, truth) for e, truth in zip(errors, truths, strict=True)])).float()


DIFFERENT: dict[str, Comparison] = {
    "Dice by default": Comparison(
        Dice(reduction="image"), dice(), because="average='micro' sums all classes before it divides", definition=micro_dice
    ),
    "focal, void": Comparison(
        Focal(2.0),
        focal(2.0),
        ignored=0.3,
        because="divides by all pixels, ignored ones too, and by the number of classes",
        definition=focal_over_all_pixels,
    ),
    "Lovász, absent class": Comparison(
        Lovasz(reduction="image"),
        losses.lovasz_softmax_loss,
        present=2,
        because="counts an absent class by its largest probability",
        definition=lovasz_of_all_classes,
    ),
    "Lovász of one logit": Comparison(
        Lovasz(reduction="image", foreground_only=True),
        losses.lovasz_hinge_loss,
        classes=1,
        because="hinge errors of the logit in place of errors of the probability",
        definition=lovasz_hinge,
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_loss_and_gradient_are_kornias(name: str) -> None:
    check_equal(EQUAL[name])


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_loss_that_differs_by_definition(name: str) -> None:
    check_different(DIFFERENT[name])
    check_definition(DIFFERENT[name])


def test_an_image_that_is_all_void_costs_one_there_and_nothing_here() -> None:
    logits, mask = Comparison(Dice(), dice(), ignored=0.3).inputs(0)
    mask[1] = IGNORE
    alone = Dice(reduction="image")(logits[:1], mask[:1]).item()
    assert Dice(reduction="image")(logits, mask).item() == pytest.approx(alone)
    assert dice(average="macro")(logits, mask).item() == pytest.approx((alone + 1) / 2, rel=1e-5)


BERMAN = [[0.6, 0.21, 0.12], [0.29, 0.68, 0.19], [0.11, 0.11, 0.69]]


@pytest.mark.parametrize(("pixels", "mask", "expected"), [(3, [0, 1, 2], (0.4 + 0.32 + 0.31) / 3), (3, [0, 0, 0], 0.69), (1, [0], 0.4)])
def test_published_numbers_of_lovasz(pixels: int, mask: list[int], expected: float) -> None:
    """Reference values of Berman's code in tests/losses/test_lovaz_softmax.py.

    Where classes are absent, the present one alone counts here.
    """
    logits = torch.tensor(BERMAN)[:, :pixels].log().view(1, 3, 1, -1)
    assert Lovasz()(logits, torch.tensor([[mask]])).item() == pytest.approx(expected, abs=1e-6)


def test_published_gradient_of_lovasz() -> None:
    """`test_foreground_gradient_reference` in tests/losses/test_lovaz_softmax.py."""
    logits = torch.tensor(BERMAN).log().view(1, 3, 1, 3)
    _, gradient = value_and_gradient(Lovasz(), logits, torch.tensor([[[0, 1, 2]]]))
    expected = [[-0.08, 0.0476, 0.0276], [0.058, -0.0725333333, 0.0437], [0.022, 0.0249333333, -0.0713]]
    torch.testing.assert_close(gradient[0, :, 0], torch.tensor(expected))


def test_published_number_of_dice_with_ignored_pixels() -> None:
    """`test_ignore_index` in tests/losses/test_dice.py gives ½ by summing all classes.

    The loss here is Dice of the one present class.
    """
    logits = torch.zeros(2, 2, 1, 4)
    logits[:, 0, :, 0], logits[:, 1, :, 1:] = 100.0, 100.0
    mask = torch.zeros(2, 1, 4, dtype=torch.int64)
    mask[..., 2:] = IGNORE
    assert dice()(logits, mask).item() == pytest.approx(1 / 2)
    assert Dice()(logits, mask).item() == pytest.approx(1 - 2 * 1 / (1 + 2))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("used", [2, 3])
def test_confusion_matrix_and_iou_of_an_image_are_kornias(seed: int, used: int) -> None:
    """For a class in neither mask, kornia's IoU is 1 and ours is undefined."""
    generator = torch.Generator().manual_seed(seed)
    prediction, mask = torch.randint(0, used, (2, 4, 6, 7), generator=generator)
    found = confusion_matrices(prediction, mask, 3)
    torch.testing.assert_close(found.float(), metrics.confusion_matrix(prediction.flatten(1), mask.flatten(1), 3))
    iou = scores(found).per_class["iou"].float()
    assert bool(iou[:, 2].isnan().all()) == (used == 2)
    torch.testing.assert_close(iou.nan_to_num(1.0), metrics.mean_iou(prediction.flatten(1), mask.flatten(1), 3))


def test_gradient_loss_is_the_square_of_kornias_total_variation_in_one_direction() -> None:
    """A step of height h between two columns: total variation sums |h| over rows, the loss takes the mean of h²."""
    p = torch.tensor([0.2, 0.9]).expand(3, 2)
    logits = torch.stack([1 - p, p]).log().unsqueeze(0)
    found = GradientLoss()(logits, torch.zeros(1, 3, 2, dtype=torch.int64))
    variation = losses.total_variation(p.unsqueeze(0)).item()
    assert variation == pytest.approx(3 * 0.7)
    assert found.item() == pytest.approx((variation / 3) ** 2)
