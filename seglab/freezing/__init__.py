"""When which stage of a network trains, and how fast."""

from seglab.freezing.schedule import FreezeSchedule, FrozenEncoder, FullFineTuning

__all__ = ["FreezeSchedule", "FrozenEncoder", "FullFineTuning"]
