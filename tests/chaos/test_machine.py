"""A minute of chaos, the same in every run; `make chaos` has hours, each seed another."""

from __future__ import annotations

from tests.chaos.machine import Chaos, run_chaos

EXAMPLES, STEPS = 12, 20


def test_one_fault_never_costs_another_pool() -> None:
    """Whatever goes wrong, in whatever order: see tests/chaos/invariants.py."""
    run_chaos(Chaos, examples=EXAMPLES, steps=STEPS, derandomize=True)
