"""A Python for a release whose own is too old, compiled in a chroot of that release.

Leaves: a cache entry holding python.tar, which is unpacked below /usr/local: where a person
who compiles one puts it. The source is that of a newer release's package, checked by apt.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from tests.vm import mirror
from tests.vm.recipe import CompiledPython, Release

ARCHIVE = "python.tar"
_TOOLS = ("build-essential", "pkg-config", "xz-utils")
# What the interpreter is linked with; without one, that module is left out of it.
_LIBRARIES = (
    "libbz2-dev",
    "libffi-dev",
    "liblzma-dev",
    "libssl-dev",
    "uuid-dev",
    "zlib1g-dev",
)
_PACKAGES = ",".join((*_TOOLS, *_LIBRARIES))
# $1 is the chroot, $2 its release, $3 the source package and $4 the release of that. Debian's
# package would run its tests and optimise by them for an hour, so only the tarball is used.
_COMPILE = """
set -eu
root=$1 lists=$1/etc/apt
sed -n "s/^deb \\(.*\\) $2 main$/deb-src \\1 $4 main/p" "$lists/sources.list" \\
    > "$lists/sources.list.d/source.list"
mkdir -p "$root/src" && cd "$root/src"
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
apt-get update
apt-get source --tar-only "$3"
chroot "$root" sh -euc '
    cd /src && mkdir tree out
    tar -C tree --strip-components=1 -xf "$1"_*.orig.tar.*
    cd tree && ./configure -q --prefix=/usr/local --without-static-libpython
    make -s -j"$(nproc)" && make -s install DESTDIR=/src/out
    /src/tree/python -c "import bz2, ctypes, hashlib, lzma, ssl, venv, zlib"
    rm -rf /src/out/usr/local/lib/python3.*/test
    tar -C /src/out/usr/local --owner=0 --group=0 -cf /src/python.tar .
' compile "$3" >"$root/src/log" 2>&1 || { tail -n 40 "$root/src/log" >&2; exit 1; }
"""


def compiled(release: Release, python: CompiledPython, cache: Path) -> Path:
    """Return the archive of a release's Python, compiling it when it is not in the cache."""
    entry = cache / f"python-{release.name}-{key(release, python)}"
    if not entry.is_dir():
        work = Path(tempfile.mkdtemp(prefix=f"{entry.name}.building-", dir=cache))
        try:
            (work / "compile.sh").write_text(_COMPILE)
            mirror.run(_argv_mmdebstrap(release, python, work), work)
            work.rename(entry)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return entry / ARCHIVE


def key(release: Release, python: CompiledPython) -> str:
    """Hash what decides the interpreter; the mirror's state is left out on purpose."""
    recipe = json.dumps((release.name, python.source, python.suite, _PACKAGES, _COMPILE))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def _argv_mmdebstrap(release: Release, python: CompiledPython, work: Path) -> list[str]:
    """Bootstrap a chroot that is thrown away, and copy the archive out of it."""
    script, words = work / "compile.sh", f"{release.name} {python.source} {python.suite}"
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--architectures=amd64",
        "--format=null",
        f"--include={_PACKAGES}",
        # The chroot is thrown away: nothing of it has to reach the disk.
        "--dpkgopt=force-unsafe-io",
        *mirror.options(),
        f'--customize-hook=sh {script} "$1" {words}',
        f"--customize-hook=copy-out /src/{ARCHIVE} {work}",
        release.name,
        "/dev/null",
        *mirror.sources(release),
    ]
