"""Losses: any `nn.Module` whose forward takes logits (N,C,H,W) and a mask (N,H,W) int64 and returns a 0-dim float32 tensor."""

from seglab.losses.cross_entropy import CrossEntropy
from seglab.losses.dice import Dice
from seglab.losses.weighted_sum import WeightedSum

__all__ = ["CrossEntropy", "Dice", "WeightedSum"]
