"""What must hold whatever goes wrong; each broken rule is one sentence.

The bounds are the contract: real seconds on a machine that has a processor to give.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain

from exporter.model import Reason, Snapshot
from tests.chaos.faults import Effect, Placed
from tests.chaos.host import Truth
from tests.chaos.seams import READERS, busiest
from tests.chaos.service import Published
from tests.chaos.watcher import Grown
from tests.chaos.world import (
    FOREIGN,
    HORIZON_SECONDS,
    TAKEOVER_SECONDS,
    World,
)

# I1: from the crossing to the kernel's new size; it takes 0.1 s.
EXTENDED_SECONDS = 3.0
# I2: what has not gained for so long is not extended ahead of its threshold.
ANTICIPATED_SECONDS = 3.0
FOLLOW_SECONDS = 1.5
# Each of them suspends the pool, so fewer are better.
MOST_EXTENSIONS_PER_SECOND = 12
# I3
MOST_CYCLES_PER_SECOND = 120
MOST_READINGS = 10  # of one VG alone, in READINGS_SECONDS
READINGS_SECONDS = 3.0
# I4, I5: between two of them.
ALIVE_SECONDS = 4.0
PUBLISHED_SECONDS = 3.5
# I5: from the start to the first of them, though every source hangs.
START_SECONDS = 8.0
# I6: from the failure to the metric.
VISIBLE_SECONDS = 3.5
# I7: how old a figure may be that is published, without any fault.
FRESH_SECONDS = 2.5
STOP_SECONDS = 5.0


class Invariants:
    """Checks the world; knows what it has checked already."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._growths = 0
        self._published = 0
        self._service = world.service
        self._seen_failures: dict[int, int] = {}  # by fault: what was visible before its hit
        self._resolved: set[int] = set()
        self._taken_over: set[str] = set()

    def check(self) -> list[str]:
        """List every rule that is broken now, or was since the last check."""
        world = self._world
        if world.service is not self._service:
            self._service, self._published = world.service, 0
            self._seen_failures.clear()
        with world.watcher.lock:
            world.watcher.look()
            return list(
                chain(
                    self._alive(),
                    self._extended(),
                    self._grown(),
                    self._calm(),
                    self._fed(),
                    self._published_often(),
                    self._failures_visible(),
                    self._fresh(),
                )
            )

    def baseline(self, placed: Placed) -> None:
        """Know what the metrics showed before a fault was met."""
        self._seen_failures[id(placed)] = self._world.service.visible_failures()

    def is_settled(self, since: float) -> bool:
        """Tell whether all that was owed at a moment has been given: extensions, metrics, news.

        What is still owed after its time is found by `check`.
        """
        service = self._world.service
        with self._world.watcher.lock:
            is_waiting = any(seen.due_seconds for seen in self._world.watcher.seen.values())
            is_hidden = any(map(self._is_hidden, self._world.board.placed))
        is_published = bool(service.published) and service.published[-1].at > since
        is_fed = max(service.systemd.times("alive"), default=0.0) > since
        return (
            not is_waiting
            and not is_hidden
            and (is_published or self._is_publishing_bad())
            and (is_fed or self._is_loop_excused())
        )

    def is_recovered(self) -> bool:
        """Tell whether every pool has what it needs, but what a fault has spoilt."""
        world = self._world
        return not any(
            world.is_wanting(truth) and not world.excuses.is_held_back(label, world.service)
            for label, truth in world.host.truths().items()
        )

    def _is_loop_excused(self) -> bool:
        return self._world.excuses.is_loop_hung(ALIVE_SECONDS + 6.0)

    def _alive(self) -> Iterator[str]:
        """I0: no part of the service ends."""
        world = self._world
        if not world.service.is_running:
            yield f"I0: the service has ended: {world.service.ended!r}"
        yield from (f"I0: a thread has died: {died}" for died in world.threads.died)
        if world.watcher.trouble:
            yield f"the test's own fault: {world.watcher.trouble}"

    def _extended(self) -> Iterator[str]:
        """I1: who is above its threshold, and not touched by a fault, is extended."""
        for label, seen in self._world.watcher.seen.items():
            limit = EXTENDED_SECONDS
            truth = seen.samples[-1].truth
            if truth.is_monitored or self._world.excuses.is_read_hindered(FRESH_SECONDS):
                limit += TAKEOVER_SECONDS + 1.0  # dmeventd is given its time
            if seen.due_seconds > limit:
                yield (
                    f"I1: {label} should have been extended for {seen.due_seconds:.1f} s: "
                    f"{truth}; the guard says {self._says(label)}"
                )

    def _says(self, label: str) -> str:
        verdict = self._world.service.verdict(label)
        return f"{verdict.reason} {verdict.detail}" if verdict else "nothing"

    def _grown(self) -> Iterator[str]:
        """I2: nothing is extended twice, or beyond any limit."""
        new, self._growths = self._grown_since(self._growths)
        for grown in new:
            if grown.growth.is_dmeventds:
                # It is handed back, unless dmeventd came second and changed nothing: that the
                # guard cannot see.
                if grown.growth.data_extents or grown.growth.metadata_extents:
                    self._taken_over.discard(grown.growth.before.label)
                continue
            for fault in self._faults_of(grown):
                yield f"I2: {grown.growth.before.label} {fault}: {grown}"

    def _grown_since(self, number: int) -> tuple[list[Grown], int]:
        grown = self._world.watcher.grown
        return grown[number:], len(grown)

    def _faults_of(self, grown: Grown) -> Iterator[str]:
        world, growth = self._world, grown.growth
        before, after = growth.before, growth.after
        label = before.label
        is_new_settings = time.monotonic() < world.settings_since + FOLLOW_SECONDS
        if not world.may_act(label) and not is_new_settings:
            yield "was extended although the guard may not"
        ends = [each.growth.at for each in world.watcher.grown if _is_of(each, label)]
        if busiest(ends, 1.0) > MOST_EXTENSIONS_PER_SECOND:
            yield f"was extended {busiest(ends, 1.0)} times within a second"
        if not growth.data_extents and not growth.metadata_extents:
            self._taken_over.add(label)  # dmeventd was first: nobody can tell who did it
            if not world.excuses.is_changed(before.vg, 2.0) and not self._is_lvextend_bad():
                yield "was extended for nothing"
            return
        limit = world.max_size_bytes(label)
        size = after.data_extents * after.extent_bytes
        if limit is not None and growth.data_extents and size > limit and not is_new_settings:
            yield "became larger than its largest size"
        is_reserved = not world.excuses.is_changed(before.vg, 2.0) and not is_new_settings
        if after.free_extents < world.reserve_extents and is_reserved:
            yield "took the reserve"
        if before.is_monitored and label not in self._taken_over:
            self._taken_over.add(label)
            if growth.at < (grown.above_since or growth.at) + TAKEOVER_SECONDS - 0.2:
                yield "was taken from dmeventd too early"
        yield from self._size_faults(grown)

    def _is_lvextend_bad(self) -> bool:
        moment = self._world.service.started_at
        return any(
            placed.fault.call == "runner.start" and placed.was_active_since(moment)
            for placed in self._world.board.placed
        )

    def _size_faults(self, grown: Grown) -> Iterator[str]:
        growth, before = grown.growth, grown.growth.before
        data = max(before.wanted_data_extents, grown.wanted_data)
        follows = max(0, before.follow_extents - before.metadata_extents)
        metadata = max(before.wanted_metadata_extents, grown.wanted_metadata, follows)
        ahead = self._ahead_extents(grown)
        if not data and not metadata and not ahead:
            yield "was extended although it had not crossed its threshold"
        elif growth.data_extents > data + ahead:
            yield f"gained more than {data} + {ahead} extents"
        elif growth.metadata_extents > metadata + ahead:
            yield f"gained more than {metadata} + {ahead} extents of metadata"

    def _ahead_extents(self, grown: Grown) -> int:
        """Count what the horizon may want at the highest rate that was seen, and a margin."""
        before = grown.growth.before
        is_filling = grown.growth.at < grown.gained_at + ANTICIPATED_SECONDS
        if not self._world.anticipates(before.label) or not is_filling:
            return 0
        if self._is_lvextend_bad():
            return before.free_extents  # for as long as an extension that is slow may take
        ahead_bytes = grown.bytes_per_second * HORIZON_SECONDS
        return round(ahead_bytes / before.extent_bytes) + 1

    def _calm(self) -> Iterator[str]:
        """I3: the loop rests, and LVM is left in peace."""
        calls = self._world.service.calls
        for call in ("kernel.arm", "kernel.wait"):
            most = calls.busiest(call, 1.0)
            if most > MOST_CYCLES_PER_SECOND:
                yield f"I3: {most} {call} within a second"
        for vg in ("a", "b", "c", ""):
            for command in READERS:
                times = calls.times("runner.run", command, vg)
                most = busiest(times, READINGS_SECONDS)
                growths = [each.growth for each in self._world.watcher.grown]
                changes = sum(growth.before.vg == vg for growth in growths)
                if most > MOST_READINGS + changes:
                    yield f"I3: {most} times {command} {vg} in {READINGS_SECONDS} s"

    def _fed(self) -> Iterator[str]:
        """I4: systemd hears of the guard, but for a loop that waits in the kernel."""
        service, now = self._world.service, time.monotonic()
        if not service.is_running or self._is_loop_excused():
            return
        last = max(service.systemd.times("alive"), default=service.started_at + START_SECONDS)
        if self._world.watcher.slack(last) + ALIVE_SECONDS < now - last:
            yield f"I4: the watchdog was last fed {now - last:.1f} s ago"

    def _published_often(self) -> Iterator[str]:
        """I5: Snapshots are published, and can be rendered."""
        service, now = self._world.service, time.monotonic()
        if service.latest is not None:
            try:
                text = service.exposition()
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                yield f"I5: the Snapshot cannot be rendered: {error!r}"
            else:
                if "thinpool_guard_errors_total" not in text:
                    yield "I5: no thinpool_guard_errors_total"
        if self._is_publishing_bad():
            return
        times = [each.at for each in service.published]
        last = max(times, default=service.started_at + START_SECONDS)
        if self._world.watcher.slack(last) + PUBLISHED_SECONDS < now - last:
            yield f"I5: a Snapshot was last published {now - last:.1f} s ago"

    def _is_publishing_bad(self) -> bool:
        moment = time.monotonic() - PUBLISHED_SECONDS
        return any(
            placed.fault.call == "publish" and placed.was_active_since(moment)
            for placed in self._world.board.placed
        )

    def _failures_visible(self) -> Iterator[str]:
        """I6: what has failed shows in a metric."""
        service, now = self._world.service, time.monotonic()
        latest = service.latest
        if latest is None:
            return
        for placed in self._world.board.placed:
            if not self._is_hidden(placed):
                self._resolved.add(id(placed))
            elif now > placed.hits[0] + VISIBLE_SECONDS and not self._is_publishing_bad():
                self._resolved.add(id(placed))
                yield f"I6: no metric shows {placed.fault}"

    def _is_hidden(self, placed: Placed) -> bool:
        """Tell whether something has failed that no metric has shown yet."""
        service, before = self._world.service, self._seen_failures.get(id(placed))
        is_of_now = before is not None and id(placed) not in self._resolved
        if placed.fault.effect is not Effect.FAIL or not placed.hits or not is_of_now:
            return False
        sources = service.snapshot().collectors.values()
        is_shown = service.visible_failures() > (before or 0)
        return not is_shown and all(state.is_ok for state in sources)

    def _fresh(self) -> Iterator[str]:
        """I7: what is published is so, or was so a moment ago."""
        published = list(self._world.service.published)
        self._world.watcher.look()  # what they show may be younger than the last sample
        new, self._published = published[self._published :], len(published)
        for each in new:
            settled_at = self._world.service.settled_at
            if settled_at is not None and each.at > settled_at:
                yield from self._stale(each)

    def _stale(self, published: Published) -> Iterator[str]:
        snapshot = published.snapshot
        for pool in snapshot.pools:
            seen = self._world.watcher.seen.get(pool.label)
            if seen is None or seen.samples[0].at > published.at - FRESH_SECONDS:
                continue
            truths = seen.since(published.at - FRESH_SECONDS)
            if self._is_unread(truths):
                continue
            data = pool.data
            if data is None:
                yield f"I7: {pool.label} is published without its usage"
                continue
            low, high = min(t.used for t in truths), max(t.used for t in truths)
            if not low <= data.used_blocks <= high:
                used = f"{data.used_blocks} blocks in use, in truth {low} to {high}"
                yield f"I7: {pool.label} is published with {used}"
            yield from self._misjudged(pool.label, snapshot, truths)

    def _misjudged(self, label: str, snapshot: Snapshot, truths: list[Truth]) -> Iterator[str]:
        verdict = snapshot.guard.pools.get(label) if snapshot.guard else None
        is_above = all(truth.is_above for truth in truths)
        if verdict and verdict.reason is Reason.BELOW_THRESHOLD and is_above:
            yield f"I7: {label} is said to be below its threshold: {truths[-1]}"

    def _is_unread(self, truths: list[Truth]) -> bool:
        """Tell whether the kernel did not answer for a pool, or lately for the loop."""
        world, truth = self._world, truths[-1]
        moment = time.monotonic() - FRESH_SECONDS - 2.0
        if world.excuses.is_loop_hung(FRESH_SECONDS + 4.0):
            return True
        if truth.label != FOREIGN and world.excuses.is_changed(truth.vg, FRESH_SECONDS + 2.0):
            return True
        return any(
            placed.was_active_since(moment)
            and placed.fault.call.startswith("kernel.")
            and placed.fault.target in {"", truth.device}
            for placed in world.board.placed
        )


def _is_of(grown: Grown, label: str) -> bool:
    return grown.growth.before.label == label and not grown.growth.is_dmeventds


def explain(world: World, broken: list[str]) -> str:
    """Say what is broken, what was done, what went wrong and what the program has logged."""
    faults = [
        f"{placed.began_at - world.began_at:7.3f} {placed.fault}: met {len(placed.hits)} times"
        + (f", over at {placed.ended_at - world.began_at:.3f}" if placed.ended_at else "")
        for placed in world.board.placed
    ]
    offset = world.service.started_at - world.began_at
    return "\n".join(
        [
            *broken,
            "steps:",
            *world.steps,
            "faults:",
            *faults,
            f"log (the guard was started at {offset:.3f}):",
            world.service.tail(),
        ]
    )
