"""The guard: loop, judge, workers, and what it remembers."""

from exporter.guard.loop import Guard
from exporter.guard.rules import Clocks, PoolRule, Rules

__all__ = ["Clocks", "Guard", "PoolRule", "Rules"]
