"""Follow a runbook in the guest: its page is fetched, and its own commands are run.

What has been run is kept, so that a test can ask whether anything was left out.
"""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from tests import runbooks
from tests.runbooks import Block
from tests.vm.machine import Machine
from tests.vm.ssh import Result

PAGE_SECONDS = 30.0
BLOCK_SECONDS = 240.0
# Exit statuses of commands that report by them: `check` and `check-config` what is wrong,
# systemctl that a unit does not run.
REPORTING: Mapping[str, frozenset[int]] = {
    "thinpool-exporter check-config": frozenset({0, 2}),
    "thinpool-exporter check": frozenset({0, 1, 2, 3}),
    "systemctl --no-pager status": frozenset({0, 3}),
}
# Of the texts as they are in the files, since the pages' depend on the host.
ran: set[str] = set()


class Runbook:
    """One runbook, as the exporter in the guest serves it for a pool, or as it is filed."""

    def __init__(self, machine: Machine, name: str, *, vg: str = "", pool: str = "") -> None:
        self._machine = machine
        self._name = name
        self._query = urlencode({"vg": vg, "pool": pool}) if vg or pool else ""

    @property
    def address(self) -> str:
        """Where host_page leads."""
        path = f"127.0.0.1:{self._machine.port()}/runbooks/{self._name}"
        return f"http://{path}?{self._query}" if self._query else f"http://{path}"

    def page(self) -> str:
        """Fetch the page, as whoever is paged does."""
        with urllib.request.urlopen(self.address, timeout=PAGE_SECONDS) as answer:
            text: str = answer.read().decode()
        return text

    def blocks(self) -> list[Block]:
        """Find the blocks of commands as they are to be typed."""
        return runbooks.blocks_of_page(self.page())

    def diagnose(self, *, until: int | None = None, **reader_s: str) -> str:
        """Type every line of the diagnosis; each must work; returns all that they print.

        `until` is the number of the first block that is not typed.
        """
        filed = runbooks.blocks_of_markdown(runbooks.source(self._name))
        pairs = zip(self.blocks(), filed, strict=True)
        said = []
        for block, original in [pair for pair in pairs if pair[0].section == "Diagnosis"][
            :until
        ]:
            ran.add(original.text)
            said += [self._line(line) for line in _typed(block, reader_s).splitlines()]
        return "\n".join(said)

    def section(self, name: str, number: int = 0, **reader_s: str) -> str:
        """Type a block of a section that has no cases; each line must work."""
        filed = runbooks.blocks_of_markdown(runbooks.source(self._name))
        original, block = (
            [one for one in blocks if one.section == name and not one.heading][number]
            for blocks in (filed, self.blocks())
        )
        ran.add(original.text)
        return "\n".join(self._line(line) for line in _typed(block, reader_s).splitlines())

    def follow(self, heading: str, number: int = 0, answer: str = "", **reader_s: str) -> str:
        """Type a block of the mitigation, and answer what it asks; returns what it prints.

        `reader_s` are the words that the reader fills in, e.g. `NEW_DISK=sdb`.
        """
        result = self.attempt(heading, number, answer, **reader_s)
        assert result.returncode == 0, f"{heading}: {result}"
        return result.stdout + result.stderr

    def attempt(
        self, heading: str, number: int = 0, answer: str = "", **reader_s: str
    ) -> Result:
        """Type a block of the mitigation, whatever comes of it."""
        filed = runbooks.blocks_of_markdown(runbooks.source(self._name))
        original, block = (_of(blocks, heading, number) for blocks in (filed, self.blocks()))
        ran.add(original.text)
        return self.typed(f"set -e\n{_typed(block, reader_s)}", answer)

    def typed(self, script: str, answer: str = "") -> Result:
        """Have a shell do what somebody types; other input is what it answers."""
        return self._machine.run(
            ("bash", "-c", script), check=False, stdin=answer, timeout_seconds=BLOCK_SECONDS
        )

    def _line(self, line: str) -> str:
        result = self.typed(line)
        allowed = next((REPORTING[c] for c in REPORTING if line.startswith(c)), {0})
        assert result.returncode in allowed, f"{line}: {result}"
        return result.stdout + result.stderr


class Filed(Runbook):
    """A runbook that is read elsewhere: its file, whose names the reader fills in."""

    def blocks(self) -> list[Block]:
        """Find the blocks of the file."""
        return runbooks.blocks_of_markdown(runbooks.source(self._name))


class Elsewhere(Filed):
    """A runbook that is typed on another machine: this one, with its Prometheus."""

    def typed(self, script: str, answer: str = "") -> Result:
        """Have a shell here do it."""
        done = subprocess.run(
            ["bash", "-c", script],
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            timeout=BLOCK_SECONDS,
        )
        return Result(script, done.returncode, done.stdout, done.stderr)


def _of(blocks: Iterable[Block], heading: str, number: int) -> Block:
    return [block for block in blocks if block.heading == heading][number]


def _typed(block: Block, reader_s: Mapping[str, str]) -> str:
    """Fill in what only the reader knows; a device's path is taken as a whole."""
    text = block.text
    for word, value in reader_s.items():
        parts = re.split(rf"(?:/dev/)?\b{word}\b", text)
        text = value.join(parts)
    left = [word for word in runbooks.READER_S if re.search(rf"\b{word}\b", text)]
    assert not left, f"{left} in {text}"
    return text
