"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A deadline for each example makes a test fail on a busy machine: speed is shown by
# tests/bench, and pytest's own timeout ends what hangs.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
