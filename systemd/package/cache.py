"""What is costly to fetch or to compile, kept outside the repository between builds."""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def cached(
    name: str,
    build: Callable[[Path], None],
    is_fresh: Callable[[Path], bool] = lambda _entry: True,
) -> Path:
    """Return an entry of the cache, built anew if it is not there or no longer fresh.

    An entry is complete or absent. A stale one serves where it cannot be renewed: without
    network there is none better.
    """
    entry = entry_of(name)
    entry.parent.mkdir(parents=True, exist_ok=True)
    with (entry.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (entry.is_dir() and is_fresh(entry)):
            try:
                _renew(entry, build)
            except Exception as error:
                if not entry.is_dir():
                    raise
                print(f"{name} is not renewed: {error}", file=sys.stderr)  # noqa: T201
    return entry


def _renew(entry: Path, build: Callable[[Path], None]) -> None:
    """Build beside the entry, and put it in its place at the end."""
    work = Path(tempfile.mkdtemp(prefix=f"{entry.name}.building-", dir=entry.parent))
    try:
        build(work)
        shutil.rmtree(entry, ignore_errors=True)
        work.rename(entry)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def entry_of(name: str) -> Path:
    """Return where an entry of the cache is, or would be."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "thinpool-exporter" / "package" / name
