"""The table of docs/science/losses.md: recomputed numbers, and other libraries' where they are installed."""

import importlib.util
import re
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from sklearn.metrics import brier_score_loss
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

import seglab
from seglab.losses import Dice

PAGE = Path(seglab.__file__).parents[1] / "docs" / "science" / "losses.md"
LOGITS, MASK = torch.tensor([[[[1.0, -1.0], [-1.0, 1.0]]]]), torch.tensor([[[1, 0], [1, 1]]])
ROWS = re.findall(r"^\| `([A-Z][^`]*)` \| (\d\.\d{4}) \| (.*?) (\d\.\d{4}) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_table_was_found() -> None:
    assert len(ROWS) == 9


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_number_here(row: tuple[str, ...]) -> None:
    name, _, arguments = row[0].partition("(")
    loss = eval(f"seglab.{name}({arguments or ')'}", {"seglab": seglab})
    assert f"{loss(LOGITS, MASK).item():.4f}" == row[1]
    instead = re.search(r"foreground_only=True` gives (\d\.\d{4})", row[4])
    if instead is not None:
        assert f"{type(loss)(foreground_only=True)(LOGITS, MASK).item():.4f}" == instead[1]
    elif "here `foreground_only=True`" in row[4]:
        alone = eval(f"seglab.{name}({arguments.rstrip(')') + ', ' if arguments else ''}foreground_only=True)", {"seglab": seglab})
        assert f"{alone(LOGITS, MASK).item():.4f}" == row[3]


def elsewhere() -> dict[str, list[Tensor | float]]:
    """The values of other libraries by the name in the table."""
    z, y = LOGITS, MASK.unsqueeze(1).float()
    found: dict[str, list[Tensor | float]] = {
        "Dice": [smp.losses.DiceLoss("binary")(z, MASK)],
        "Jaccard": [smp.losses.JaccardLoss("binary")(z, MASK)],
        "Tversky": [smp.losses.TverskyLoss("binary", alpha=0.3, beta=0.7)(z, MASK)],
        "GeneralizedDice": [Dice(foreground_only=True)(z, MASK)],
        "Lovasz": [smp.losses.LovaszLoss("binary")(z, MASK)],
        "BoundaryLoss": [],
        "Focal": [sigmoid_focal_loss(z, y, reduction="mean")],
        "Brier": [brier_score_loss(MASK.flatten().numpy(), z.sigmoid().flatten().numpy())],
        "CrossEntropy": [F.binary_cross_entropy_with_logits(z, y, pos_weight=torch.tensor(3.0))],
    }
    if importlib.util.find_spec("monai") is not None:
        losses = importlib.import_module("monai.losses")
        found["Dice"].append(losses.DiceLoss(sigmoid=True)(z, y))
        found["Jaccard"].append(losses.DiceLoss(sigmoid=True, jaccard=True)(z, y))
        found["Tversky"].append(losses.TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7)(z, y))
        found["GeneralizedDice"].append(losses.GeneralizedDiceLoss(sigmoid=True)(z, y))
        found["BoundaryLoss"].append(losses.BoundaryLoss(sigmoid=True)(z, y))
    if importlib.util.find_spec("kornia") is not None:
        found["Lovasz"].append(importlib.import_module("kornia.losses").lovasz_hinge_loss(z, MASK))
    return found


@pytest.mark.filterwarnings("ignore")
def test_the_numbers_elsewhere() -> None:
    found = elsewhere()
    for name, _, _, expected, _ in ROWS:
        for value in found[name.partition("(")[0]]:
            assert float(value) == pytest.approx(float(expected), abs=6e-5), name
