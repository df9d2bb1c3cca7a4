"""Six hours before a fleet began, for the rules that look back so far.

Only of what they read over hours; in blocks, as a Prometheus has it that has run for so long.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.bench.fleet.hosts import Figure, Host, Template, fleet
from tests.bench.fleet.specimens import specimen
from tests.programs import need
from tests.prometheus import PACKAGES

HOURS, SCRAPE_SECONDS = 6, 15
BLOCK_SECONDS, WEIGHED_HOSTS = 7200, 20
WRITING_SECONDS = 1200.0
FAMILIES: Mapping[str, tuple[str, str, Figure]] = {
    "thinpool_data_used_bytes": ("gauge", "", Host.used),
    "thinpool_metadata_used_bytes": ("gauge", "", Host.metadata_used),
    "thinpool_guard_extended_bytes": ("counter", ',device="data"', Host.extended),
}


def write(directory: Path, hosts: Iterable[Host], began_at: float) -> None:
    """Write the blocks into `directory/data`. Raises CalledProcessError."""
    _make_blocks(directory, _lines(tuple(hosts), began_at))


def bytes_per_sample(directory: Path) -> float:
    """Write a block of two hours of some whole hosts, and weigh it, its index included."""
    # A whole block's: they begin at even hours.
    began_at = time.time() // BLOCK_SECONDS * BLOCK_SECONDS
    _make_blocks(directory, _whole(fleet(WEIGHED_HOSTS, {}), began_at))
    (block,) = (path.parent for path in (directory / "data").glob("*/meta.json"))
    size = sum(path.stat().st_size for path in block.rglob("*") if path.is_file())
    samples: int = json.loads((block / "meta.json").read_text())["stats"]["numSamples"]
    return size / samples


def _make_blocks(directory: Path, lines: Iterable[str]) -> None:
    text = directory / "past"
    with text.open("w") as file:
        file.writelines(lines)
    subprocess.run(
        (
            need("promtool", PACKAGES),
            *("tsdb", "create-blocks-from", "openmetrics", "--quiet"),
            *(str(text), str(directory / "data")),
        ),
        check=True,
        timeout=WRITING_SECONDS,
    )
    text.unlink()


def _whole(hosts: tuple[Host, ...], began_at: float) -> Iterator[str]:
    template = Template("healthy", specimen(), began_at)
    for host in hosts:
        labels = f'job="thinpool",instance="{host.name}",rack="{host.rack}"'
        for seconds in range(0, BLOCK_SECONDS, SCRAPE_SECONDS):
            now = began_at + seconds
            for line in template.body(host, now).splitlines():
                if not line.startswith("#"):
                    yield f"{_labelled(line, labels)} {now:.3f}\n"
    yield "# EOF\n"


def _labelled(line: str, labels: str) -> str:
    name, _, value = line.partition(" ")
    if "{" not in name:
        return f"{name}{{{labels}}} {value}"
    return line.replace("{", f"{{{labels},", 1)


def _lines(hosts: tuple[Host, ...], began_at: float) -> Iterator[str]:
    times = range(-HOURS * 3600, 0, SCRAPE_SECONDS)
    for family, (kind, labels, figure) in FAMILIES.items():
        yield f"# TYPE {family} {kind}\n"
        suffix = "_total" if kind == "counter" else ""
        for host in hosts:
            series = (
                f'{family}{suffix}{{job="thinpool",instance="{host.name}",rack="{host.rack}",'
                f'vg="docker",pool="thinpool"{labels}}}'
            )
            for seconds in times:
                yield f"{series} {figure(host, seconds)!r} {began_at + seconds:.3f}\n"
    yield "# EOF\n"
