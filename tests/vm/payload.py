"""Bring the project into the guest: its wheel and dependencies in an own environment.

The guest has no network and, emulated, pip takes a minute there. So pip unpacks on this
host, for the guest's Python and from wheels alone, and the guest receives the result.
"""

import email
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.vm.image import cache_root, exclusive
from tests.vm.machine import Machine
from tests.vm.recipe import Release

PREFIX = "/opt/thinpool-exporter"
PROGRAM = f"{PREFIX}/bin/thinpool-exporter"
_REPOSITORY = Path(__file__).parents[2]
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_ARCHIVE = "/root/site.tar"

# Compiled before the snapshot, or every restored test would compile what it imports.
_INSTALL = f"""
set -e
rm -rf {PREFIX} && python3 -m venv --without-pip {PREFIX}
cd {PREFIX}/lib/python3*/site-packages
tar -xf {_ARCHIVE} --no-same-owner && rm {_ARCHIVE}
for script in bin/*; do sed '1s|.*|#!{PREFIX}/bin/python|' $script > {PREFIX}/$script; done
chmod 755 {PREFIX}/bin/* && rm -r bin
{PREFIX}/bin/python -m compileall -q -j 0 -x pygments/ .
ln -sf {PROGRAM} /usr/local/bin/thinpool-exporter
cd / && {PREFIX}/bin/python -c 'import exporter'
"""


def install(machine: Machine) -> None:
    """Install the project's present state in the guest, under PREFIX and on its PATH."""
    release = machine.image.release
    with tempfile.TemporaryDirectory(prefix="thinpool-payload-") as name:
        work = Path(name)
        wheel = build_wheel(work)
        house = wheelhouse(requirements(wheel), release)
        _pip_install(wheel, house, release, work / "site")
        with tarfile.open(work / "site.tar", "w") as archive:
            archive.add(work / "site", arcname=".")
        machine.put(work / "site.tar", _ARCHIVE)
    machine.run(_INSTALL, timeout_seconds=180)


def build_wheel(directory: Path) -> Path:
    """Build the project's wheel into directory."""
    _run("build", "--wheel", "--outdir", str(directory), str(_REPOSITORY))
    (wheel,) = directory.glob("*.whl")
    return wheel


def requirements(wheel: Path) -> tuple[str, ...]:
    """Read the run-time dependencies that the wheel declares."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(path))
    declared = metadata.get_all("Requires-Dist", [])
    return tuple(sorted(str(line) for line in declared if "extra ==" not in line))


def wheelhouse(dependencies: tuple[str, ...], release: Release) -> Path:
    """Return a cached folder of wheels that satisfy dependencies on release's Python."""
    recipe = "\n".join((release.python, *_PLATFORMS, *dependencies))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    house = cache_root() / f"wheels-python{release.python}-{digest}"
    with exclusive(house.parent / f"{house.name}.lock"):
        if not house.is_dir():
            work = Path(tempfile.mkdtemp(prefix=f"{house.name}.building-", dir=house.parent))
            try:
                _run("pip", "download", "-q", *_for(release), "-d", str(work), *dependencies)
                work.rename(house)
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
    return house


def _pip_install(wheel: Path, house: Path, release: Release, target: Path) -> None:
    """Unpack wheel and dependencies as pip does for release's Python."""
    local = ("--no-index", "--find-links", str(house), "--no-compile", "--target", str(target))
    _run("pip", "install", "-q", *local, *_for(release), str(wheel))


def _for(release: Release) -> list[str]:
    """Make pip choose for the guest's Python instead of its own."""
    platforms = [f"--platform={platform}" for platform in _PLATFORMS]
    python = f"--python-version={release.python}"
    return ["--only-binary=:all:", "--implementation=cp", python, *platforms]


def _run(*module_argv: str) -> None:
    """Run a module of this interpreter, showing its output only if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *module_argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(module_argv)}:\n{done.stdout[-4000:]}")
