"""Freeze schedules: which stages of a network train, when, and at which learning rate."""

from seglab.freezing.composition import Product, WarmUp
from seglab.freezing.phases import Phase, phase_table, phases_of, scales
from seglab.freezing.schedule import FreezeSchedule, When
from seglab.freezing.schedules import LPFT, FreezeOut, FrozenEncoder, FullFineTuning, GradualUnfreeze, LayerwiseDecay, Surgical

__all__ = [
    "LPFT",
    "FreezeOut",
    "FreezeSchedule",
    "FrozenEncoder",
    "FullFineTuning",
    "GradualUnfreeze",
    "LayerwiseDecay",
    "Phase",
    "Product",
    "Surgical",
    "WarmUp",
    "When",
    "phase_table",
    "phases_of",
    "scales",
]
