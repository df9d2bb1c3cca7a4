"""Chaos for hours: `python -m tests.chaos [SEED]`, or `make chaos`.

THINPOOL_CHAOS_SECONDS is for how long (an hour). With a seed, that one alone is tried. Every
failure is printed with its seed, its steps and their times; the end is 1 if there was any.
Time is real: a seed gives the same steps again, not the same moments.
"""

from __future__ import annotations

import os
import random
import sys
import time
import traceback

from hypothesis import seed as with_seed
from hypothesis.errors import Flaky

from tests.chaos.machine import Chaos, run_chaos

SECONDS = float(os.environ.get("THINPOOL_CHAOS_SECONDS", "3600"))
EXAMPLES, STEPS = 5, 25
LARGEST_SEED = 2**32


def main() -> int:
    """Try one seed after another until the time is over."""
    if sys.argv[1:]:
        return int(not is_well(int(sys.argv[1])))
    ends_at = time.monotonic() + SECONDS
    tried = failed = 0
    while time.monotonic() < ends_at:
        tried += 1
        failed += not is_well(random.randrange(LARGEST_SEED))  # noqa: S311 - no secret
        sys.stdout.write(f"chaos: {tried} seeds, {failed} failed\n")
        sys.stdout.flush()
    return int(failed > 0)


def is_well(seed: int) -> bool:
    """Try one seed."""

    @with_seed(seed)
    class Seeded(Chaos):
        """The same machine, with steps of its own."""

    try:
        run_chaos(Seeded, examples=EXAMPLES, steps=STEPS)
    except Exception as error:  # noqa: BLE001 - whatever it is, the next seed is tried
        sys.stderr.write(f"FAILED: python -m tests.chaos {seed}\n")
        if not isinstance(error, (AssertionError, Flaky)):
            traceback.print_exception(error)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
