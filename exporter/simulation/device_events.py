"""Events of the simulated device-mapper, as a poll of /dev/mapper/control shows them."""

from __future__ import annotations

import threading

_LONGEST_SECONDS = 3600.0  # no wait takes infinity


class DeviceEvents:
    """Tells events from wakes; safe to use from several threads.

    Events are seen only while armed. One that comes stays until a `wait` has returned it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_armed = False
        self._has_event = False
        self._is_woken = False
        self._is_closed = False

    def arm(self) -> None:
        """See Kernel.arm."""
        with self._changed:
            self._is_armed = True

    def note(self) -> None:
        """Have an event: a device was changed, made, removed, renamed or resumed."""
        with self._changed:
            self._has_event |= self._is_armed
            self._changed.notify_all()

    def wake(self) -> None:
        """See Kernel.wake."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the present `wait`, and every later one, at once."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        with self._changed:
            self._changed.wait_for(
                self._is_over, min(max(0.0, timeout_seconds), _LONGEST_SECONDS)
            )
            has_event = self._has_event
            self._has_event = self._is_woken = False
            self._is_armed &= not has_event
            return has_event

    def _is_over(self) -> bool:
        return self._has_event or self._is_woken or self._is_closed
