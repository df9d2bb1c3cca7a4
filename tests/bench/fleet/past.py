"""Six hours before a fleet began, for the rules that look back so far.

Only of what they read over hours; in blocks, as a Prometheus has it that has run for so long.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.bench.fleet.hosts import Figure, Host
from tests.programs import need
from tests.prometheus import PACKAGES

HOURS, SCRAPE_SECONDS = 6, 15
WRITING_SECONDS = 1200.0
FAMILIES: Mapping[str, tuple[str, str, Figure]] = {
    "thinpool_data_used_bytes": ("gauge", "", Host.used),
    "thinpool_metadata_used_bytes": ("gauge", "", Host.metadata_used),
    "thinpool_guard_extended_bytes": ("counter", ',device="data"', Host.extended),
}


def write(directory: Path, hosts: Iterable[Host], began_at: float) -> None:
    """Write the blocks into `directory/data`. Raises CalledProcessError."""
    text = directory / "past"
    with text.open("w") as file:
        file.writelines(_lines(tuple(hosts), began_at))
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
