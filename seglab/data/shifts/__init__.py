"""Shifted test sets: the test images with a corruption, or those of another data set with the same classes."""

from seglab.data.shifts.corruptions import JPEG, Brightness, DefocusBlur, GaussianNoise, corruptions
from seglab.data.shifts.domain import OtherDomain
from seglab.data.shifts.shift import Corruption, Shift

__all__ = ["JPEG", "Brightness", "Corruption", "DefocusBlur", "GaussianNoise", "OtherDomain", "Shift", "corruptions"]
