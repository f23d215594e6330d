"""Scores of each image, averaged over images: each image counts once, whatever its number of pixels."""

from torch import Tensor


def image_scores(matrices: Tensor) -> dict[str, Tensor]:
    """Average the scores of single images, as Wang et al. 2023 (arXiv:2310.19252) and Metrics Reloaded (Maier-Hein et
    al. 2024) advise.

    | score | is |
    |---|---|
    | `image_miou` | the mean over images of the image's mIoU |
    | `image_dice` | the mean over images of the image's mean Dice |
    | `image_miou_worst10` | the mean mIoU of the 10 % of images with the lowest mIoU, rounded down but at least one image |

    A class in neither the truth nor the prediction of an image does not count in this image. A class that is predicted
    and not in the truth counts as 0; Wang et al. leave it out. An image without a valid pixel does not count. The order
    of the images changes no score.

    Args:
        matrices: (N,C,C) integer, the confusion matrix of each image, rows truth, columns prediction.

    Returns:
        0-dim float64 by name; NaN if no image has a valid pixel.

    >>> import torch
    >>> wrong, right = [[0, 4], [0, 0]], [[4, 0], [0, 0]]
    >>> image_scores(torch.tensor([wrong, right]))["image_miou"]
    tensor(0.5000, dtype=torch.float64)
    """
    hit, truth, predicted = matrices.diagonal(dim1=-2, dim2=-1).double(), matrices.sum(-1).double(), matrices.sum(-2).double()
    iou, dice = ((found / whole).nanmean(-1) for found, whole in ((hit, truth + predicted - hit), (2 * hit, truth + predicted)))
    miou, dice = (score[~score.isnan()].sort().values for score in (iou, dice))  # sorted, so that ranks in any order sum alike
    worst = miou[: max(1, len(miou) // 10)]
    return {"image_miou": miou.mean(), "image_dice": dice.mean(), "image_miou_worst10": worst.mean()}
