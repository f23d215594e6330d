"""Losses: any `nn.Module` whose forward maps logits (N,C,H,W) and a mask (N,H,W) int64 to a 0-dim float32 tensor.

Write a mean over pixels as `ratio_over_ranks(sum, number)`, so that several processes give the gradient of the joint
batch.
"""

from seglab.losses.boundary import BoundaryLoss
from seglab.losses.cross_entropy import CrossEntropy
from seglab.losses.dice import Dice, GeneralizedDice, LogCoshDice
from seglab.losses.focal import Focal
from seglab.losses.gradient import GradientLoss
from seglab.losses.hausdorff import HausdorffDT
from seglab.losses.lovasz import Lovasz
from seglab.losses.ohem import OHEM
from seglab.losses.probabilities import Brier, SmoothL1Loss
from seglab.losses.ranks import ratio_over_ranks, sum_over_ranks
from seglab.losses.tversky import FocalTversky, Jaccard, Tversky
from seglab.losses.weighted_sum import WeightedSum

__all__ = [
    "OHEM",
    "BoundaryLoss",
    "Brier",
    "CrossEntropy",
    "Dice",
    "Focal",
    "FocalTversky",
    "GeneralizedDice",
    "GradientLoss",
    "HausdorffDT",
    "Jaccard",
    "LogCoshDice",
    "Lovasz",
    "SmoothL1Loss",
    "Tversky",
    "WeightedSum",
    "ratio_over_ranks",
    "sum_over_ranks",
]
