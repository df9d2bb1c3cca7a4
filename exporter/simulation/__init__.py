"""A host that exists only in memory, and answers as LVM 2.03.16 and Docker 20.10 do.

It serves the demo and the tests; it reads no file, starts no process, and asks no kernel.
"""

from exporter.simulation.clock import ManualClock
from exporter.simulation.host import SimulatedHost
from exporter.simulation.records import LoopPoolSpec, PoolSpec, Sawtooth

__all__ = ["LoopPoolSpec", "ManualClock", "PoolSpec", "Sawtooth", "SimulatedHost"]
