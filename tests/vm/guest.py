"""The installed program in the guest: started, asked and stopped as a user does."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from tests.vm.machine import Machine
from tests.vm.waiting import wait_until

PROGRAM = "thinpool-exporter"
# An emulated machine takes its time.
CHECK = ("check", "--live", "--timeout=150", "--log.level=error")
CONFIG = "/etc/thinpool-exporter/config.yml"
READY_SECONDS = 60.0
SCRAPE_SECONDS = 30.0
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


class Metrics:
    """One exposition, by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = dict(_samples(text))

    def value(self, name: str, **labels: str) -> float | None:
        """Find the one sample with at least these labels; None if there is none."""
        wanted = set(labels.items())
        found = [
            value
            for (sample, present), value in self._samples.items()
            if sample == name and wanted <= present
        ]
        assert len(found) <= 1, f"{name}{labels} is ambiguous"
        return found[0] if found else None

    def label(self, name: str, label: str, **labels: str) -> str:
        """Find the value of one label of the one sample with these labels."""
        wanted = set(labels.items())
        (found,) = (
            dict(present)[label]
            for (sample, present) in self._samples
            if sample == name and wanted <= present
        )
        return found


def _samples(text: str) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - heavy

    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value


class Guest:
    """A running exporter in the guest."""

    def __init__(self, machine: Machine, unit: str) -> None:
        self._machine = machine
        self.unit = unit

    def metrics(self) -> Metrics:
        """Scrape it through the forwarded port."""
        url = f"http://127.0.0.1:{self._machine.port()}/metrics"
        with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS) as page:
            return Metrics(page.read().decode())

    def wait_for(self, seconds: float, name: str, expected: float, **labels: str) -> Metrics:
        """Scrape until a sample has this value, and return that scrape."""
        seen: list[Metrics] = []

        def holds() -> bool:
            seen.append(self.metrics())
            return seen[-1].value(name, **labels) == expected

        wait_until(holds, deadline_seconds=seconds, what=f"{name}{labels} == {expected}")
        return seen[-1]

    def scrape_until(self, holds: Callable[[Metrics], bool], *, seconds: float) -> Metrics:
        """Scrape until a condition holds, or for so long; returns the last scrape."""
        seen: list[Metrics] = []

        def is_over() -> bool:
            seen.append(self.metrics())
            return holds(seen[-1])

        with suppress(TimeoutError):
            wait_until(is_over, deadline_seconds=seconds, what="the scrape")
        return seen[-1]

    def events(self, name: str = "") -> list[dict[str, object]]:
        """Find its log lines, of one event or all."""
        lines = (line for line in self._machine.journal(self.unit).splitlines() if "{" in line)
        fields = (json.loads(line[line.index("{") :]) for line in lines)
        return [line for line in fields if name in {"", line.get("event")}]


@contextmanager
def running(
    machine: Machine, *flags: str, command: str = "run", ready_seconds: float = READY_SECONDS
) -> Iterator[Guest]:
    """Run the exporter in the guest until the end of the block."""
    argv = (PROGRAM, command, "--log.format=json", *flags)
    unit = machine.start(argv)
    guest = Guest(machine, unit)

    def is_ready() -> bool:
        url = f"http://127.0.0.1:{machine.port()}/-/ready"
        try:
            with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS) as page:
                return bool(page.status == 200)
        except OSError:
            return False

    wait_until(is_ready, deadline_seconds=ready_seconds, what="the exporter is ready")
    try:
        yield guest
    finally:
        machine.stop(unit)


def collect(machine: Machine) -> Metrics:
    """Run `collect` once in the guest, of the host as it is now."""
    return Metrics(machine.run((PROGRAM, "collect", "--live", "--log.level=error")).stdout)


def check(machine: Machine) -> tuple[int, str]:
    """Run `check` in the guest, of the host as it is now; exit status and report."""
    result = machine.run((PROGRAM, *CHECK), check=False)
    return result.returncode, result.stdout
