"""Debian's mirrors as this host reaches them, for other releases than its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.vm.recipe import Release


class StepError(RuntimeError):
    """A step of a build failed; the message holds the failing command's output."""


def run(argv: list[str], cwd: Path | None = None) -> str:
    """Run a build step and return its stdout."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=os.environ | {"PATH": path, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StepError(f"{argv[0]} exited {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def options() -> list[str]:
    """Repeat to mmdebstrap how this host fetches: proxies, certificates, date checks."""
    if shutil.which("apt-config") is None:
        return []
    dump = run(["apt-config", "dump", "Acquire"])
    ours = (
        "IndexTargets",
        "CompressionTypes",
        "Languages",
        "GzipIndexes",
        "cdrom",
        "Changelogs",
    )
    skipped = tuple(f"Acquire::{name}" for name in ours)
    lines = (line for line in dump.splitlines() if not line.startswith(skipped))
    return [f"--aptopt={line.rstrip(';')}" for line in lines if not line.endswith('""' + ";")]


def sources(release: Release) -> list[str]:
    """Point release at this host's mirrors; nothing means mmdebstrap's default."""
    sites = _sites()
    if "" not in sites:
        return []
    lines = [f"deb {sites['']} {release.name} main"]
    if release.has_security and "security" in sites:
        lines.append(f"deb {sites['security']} {release.name}-security main")
    return lines


def _sites() -> dict[str, str]:
    """Find the mirrors of this host's own Debian: that of the release, and of `security`."""
    if shutil.which("apt-get") is None:
        return {}
    found = run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(SITE)|$(CODENAME)"])
    rows = {tuple(line.split("|")) for line in found.splitlines() if line.startswith("Debian|")}
    return {codename.partition("-")[2]: site for _, site, codename in sorted(rows)}
