"""Fetch Prometheus 3 and its Alertmanager from Debian's next release, and keep them.

Leaves: a cache entry with their programs, whose packages apt has verified. Nothing is
installed. Debian's present releases have Prometheus 2 alone.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from systemd.package.cache import cached, entry_of
from tests.vm import mirror
from tests.vm.recipe import Release

_RELEASE = Release(name="forky", has_security=False)
_PACKAGES = ("prometheus", "prometheus-alertmanager")
_PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
_ENTRY = f"prometheus-{_RELEASE.name}"


def directory() -> Path:
    """Return where the programs are, once they have been fetched."""
    return entry_of(_ENTRY)


def fetched() -> Path:
    """Return where the programs are; fetch them (a minute) unless that has been done before."""
    return cached(_ENTRY, _fetch)


def _fetch(directory: Path) -> None:
    """Unpack the packages without running anything of theirs, and take the programs."""
    if shutil.which("mmdebstrap") is None:
        raise mirror.StepError("mmdebstrap is missing: apt-get install mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="thinpool-prometheus-") as name:
        root = Path(name, "root.tar")
        mirror.run(_argv_mmdebstrap(root))
        paths = (f"./usr/bin/{program}" for program in _PROGRAMS)
        mirror.run(["tar", "-xf", str(root), "--strip-components=3", *paths], directory)
    for program in _PROGRAMS:
        # They were linked for a newer C library than this host may have.
        mirror.run([str(directory / program), "--version"])


def _argv_mmdebstrap(root: Path) -> list[str]:
    return [
        "mmdebstrap",
        "--variant=extract",
        f"--include={','.join(_PACKAGES)}",
        *mirror.options(),
        _RELEASE.name,
        str(root),
        *mirror.sources(_RELEASE),
    ]


if __name__ == "__main__":
    sys.stdout.write(f"{fetched()}\n")
