"""LVM's hints: its notes in /run/lvm/hints on which devices to look at next time.

They spare LVM the reading of every other device, and that matters here: a thin volume of
Docker's, whose pool is suspended, holds up whatever reads it. But where they lack a disk that
a VG was just given (2.03.16, after vgextend beside readings of ours), the VG is partial for
every command that goes by them, until the set of devices changes. So a VG that is partial is
read once more without. (Hints since 2.03.03.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from exporter.model import VolumeGroup

ASK_AGAIN_SECONDS = 60.0


class Doubts:
    """Remembers which VGs are partial without hints as well: to find out takes a reading."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._confirmed: dict[str, tuple[int, float]] = {}

    def doubted(self, groups: Iterable[VolumeGroup]) -> tuple[str, ...]:
        """Name the partial VGs of which it is not known that they are so without hints too."""
        return tuple(
            group.name for group in groups if group.is_partial and self._is_open(group)
        )

    def note(self, groups: Iterable[VolumeGroup]) -> None:
        """Take what has been read without hints."""
        for group in groups:
            if group.is_partial:
                self._confirmed[group.name] = (group.seqno, self._clock())
            else:
                self._confirmed.pop(group.name, None)

    def _is_open(self, group: VolumeGroup) -> bool:
        seqno, at = self._confirmed.get(group.name, (None, 0.0))
        return seqno != group.seqno or self._clock() >= at + ASK_AGAIN_SECONDS
