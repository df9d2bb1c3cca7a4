"""The wheels that the packages carry: of every dependency, for every supported Python.

Enters: the project's wheel. Leaves: a folder with what all Pythons share in `shared/`, and
with a folder for what one of them needs besides. pip chooses the versions.
"""

import email
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from systemd.package.cache import cached

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SHARED = "shared"
# The installer is no dependency: it sets up the environment, and stays outside of it.
INSTALLER = "installer==1.1.0"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Debian 10 and RHEL 8 have glibc 2.28.
_MANYLINUX = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
_FRESH_SECONDS = 24 * 3600
# Raised when the folder is laid out in another way: an older one in the cache is no use then.
_LAYOUT = "2"


class WheelError(RuntimeError):
    """pip found no wheel for a Python, or failed; the message holds what it said."""

    needs = "the Python package index, and there a wheel for each Python"


def carried(project: Path, arch: str) -> Path:
    """Return a folder with the wheels of project's dependencies, resolved within a day."""
    direct = sorted(str(one) for one in _requirements(project))
    recipe = "\n".join((_LAYOUT, arch, INSTALLER, *PYTHONS, *_MANYLINUX, *direct))
    name = f"wheels-{arch}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"

    def build(directory: Path) -> None:
        _gather(project, arch, directory)

    def is_fresh(directory: Path) -> bool:
        return time.time() - directory.stat().st_mtime < _FRESH_SECONDS

    return cached(name, build, is_fresh)


def of_python(directory: Path, python: str) -> tuple[Path, ...]:
    """Find the wheels of one Python in a folder that was laid out by carried()."""
    folders = (directory / SHARED, directory / python)
    return tuple(sorted(wheel for folder in folders for wheel in folder.glob("*.whl")))


def closure(
    project: Path, wheels: Iterable[Path], python: str, arch: str
) -> tuple[frozenset[Path], tuple[str, ...]]:
    """Follow what project requires on a Python: the wheels met, and what none satisfies."""
    by_name = {parse_wheel_filename(wheel.name)[0]: wheel for wheel in wheels}
    environment = _marker_environment(python, arch)
    met: dict[Path, frozenset[str]] = {}
    missing: set[str] = set()
    queue = [(project, frozenset({""}))]
    while queue:
        wheel, extras = queue.pop()
        if extras <= met.get(wheel, frozenset()):
            continue
        met[wheel] = met.get(wheel, frozenset()) | extras
        for requirement in _in_force(wheel, extras, environment):
            found = by_name.get(canonicalize_name(requirement.name))
            if found is None or not _satisfies(found, requirement):
                requirement.marker = None
                missing.add(str(requirement))
            else:
                queue.append((found, frozenset({"", *requirement.extras})))
    return frozenset(met) - {project}, tuple(sorted(missing))


def platforms(arch: str) -> tuple[str, ...]:
    """Name the platforms whose wheels run on every host that the packages are for."""
    return tuple(f"{one}_{MACHINES[arch]}" for one in _MANYLINUX)


def _gather(project: Path, arch: str, directory: Path) -> None:
    """Download for each Python, and lay out what all have in common once."""
    with tempfile.TemporaryDirectory(prefix="thinpool-wheels-") as name:
        houses = {python: Path(name) / python for python in PYTHONS}
        with ThreadPoolExecutor(max_workers=2) as pool:
            jobs = [pool.submit(_download, project, *one, arch) for one in houses.items()]
        chosen = {python: job.result() for python, job in zip(houses, jobs, strict=True)}
        common = frozenset.intersection(*(frozenset(names) for names in chosen.values()))
        for python, found in chosen.items():
            for file_name, wheel in found.items():
                folder = directory / (SHARED if file_name in common else python)
                folder.mkdir(exist_ok=True)
                shutil.copyfile(wheel, folder / file_name)
        _pip("download", "-q", "--no-deps", "-d", str(directory / "installer"), INSTALLER)


def _download(project: Path, python: str, house: Path, arch: str) -> Mapping[str, Path]:
    """Fill house with what project needs on a Python; the wheels by their names.

    pip reads markers as the Python that it runs on does (pypa/pip#11664). What another one
    needs besides is found here, and asked for by name.
    """
    choice = [f"--platform={platform}" for platform in platforms(arch)]
    choice += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    wanted: tuple[str, ...] = ()
    missing = tuple(str(one) for one in _in_force_directly(project, python, arch))
    while missing:
        wanted += missing
        _pip("download", "-q", *choice, "-d", str(house), *wanted)
        met, missing = closure(project, house.glob("*.whl"), python, arch)
        if set(missing) & set(wanted):
            raise WheelError(f"Python {python}: nothing satisfies {', '.join(missing)}")
    return {wheel.name: wheel for wheel in met}


def _in_force_directly(project: Path, python: str, arch: str) -> Iterator[Requirement]:
    for one in _in_force(project, frozenset({""}), _marker_environment(python, arch)):
        one.marker = None
        yield one


def _in_force(
    wheel: Path, extras: frozenset[str], environment: Mapping[str, str]
) -> Iterator[Requirement]:
    """Read what a wheel requires where these extras are asked for."""
    for one in _requirements(wheel):
        marker = one.marker
        if marker is None or any(
            marker.evaluate({**environment, "extra": extra}) for extra in extras
        ):
            yield one


def _requirements(wheel: Path) -> Iterator[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (
            name
            for name in archive.namelist()
            if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)
        )
        metadata = email.message_from_bytes(archive.read(path))
    yield from (Requirement(str(line)) for line in metadata.get_all("Requires-Dist", []))


def _satisfies(wheel: Path, requirement: Requirement) -> bool:
    version = parse_wheel_filename(wheel.name)[1]
    return requirement.specifier.contains(version, prereleases=True)


def _marker_environment(python: str, arch: str) -> Mapping[str, str]:
    """Describe a CPython on Linux as markers ask for it."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": MACHINES[arch],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def _pip(*arguments: str) -> None:
    """Run pip, showing what it says only if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise WheelError(f"pip {' '.join(arguments)}:\n{done.stdout[-4000:]}")
