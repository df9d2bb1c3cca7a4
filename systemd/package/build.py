"""Build wheel, sdist, deb and rpm.

Enters: the tree that this file is in. Leaves: the four in one folder. What is staged for the
packages lies in a temporary folder; wheels of others and nfpm come from a cache.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from systemd.package import environment, nfpm, wheels

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ("deb", "rpm")
_HERE = Path("systemd/package")
# What a user may load into Prometheus and Grafana.
_SHARED = ("rules", "grafana")
_NAME = "thinpool-exporter"


def project_wheel(out: Path, *, with_sdist: bool = False) -> Path:
    """Build the project's own wheel into a folder."""
    kinds = ["--sdist", "--wheel"] if with_sdist else ["--wheel"]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="thinpool-wheel-") as name:
        _run([sys.executable, "-m", "build", *kinds, "--outdir", name, str(ROOT)])
        (wheel,) = (Path(shutil.copy(made, out)) for made in Path(name).glob("*.whl"))
        for sdist in Path(name).glob("*.tar.gz"):
            shutil.copy(sdist, out)
    return wheel


def stage(directory: Path, project: Path, arch: str) -> None:
    """Lay out below a folder what nfpm.yaml names."""
    house = directory / "wheels"
    shutil.copytree(wheels.carried(project, arch), house)
    shutil.copy(project, house / wheels.SHARED)
    names = sorted(str(path.relative_to(house)) for path in house.rglob("*.whl"))
    (house / environment.LIST).write_text("\n".join(names) + "\n")
    (directory / "exporter").mkdir()
    for name in ("systemd", "exporter/README.md", "README.md", "CHANGELOG.md", "LICENSE"):
        _copy(ROOT / name, directory / name)
    stage_shared(directory / "share")
    common = (ROOT / _HERE / "common.sh").read_text()
    for kind in FORMATS:
        (directory / kind).mkdir()
        for script in (ROOT / _HERE / kind).glob("*.sh"):
            (directory / kind / script.name).write_text(common + "\n" + script.read_text())
    _normalise(directory)


def stage_shared(share: Path) -> None:
    """Lay out what users load into other programs; what has written it stays here."""
    share.mkdir(exist_ok=True)
    for name in _SHARED:
        ignored = shutil.ignore_patterns("__pycache__", "builder", ".lint")
        shutil.copytree(ROOT / name, share / name, ignore=ignored)


def packages(
    out: Path, project: Path, *, arch: str = "amd64", formats: Sequence[str] = FORMATS
) -> tuple[Path, ...]:
    """Build deb and rpm around the project's wheel."""
    program = nfpm.program()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="thinpool-package-") as name:
        directory = Path(name)
        stage(directory, project, arch)
        version = package_version(project.name.split("-")[1])
        variables = {"ARCH": arch, "VERSION": version, "SOURCE_DATE_EPOCH": str(_epoch())}
        made = [_pack(program, directory, kind, variables) for kind in formats]
        # One of each kind, so that there is no doubt which is to be installed.
        for package in made:
            for older in out.glob(f"{_NAME}*{package.name.split(version)[1]}"):
                older.unlink()
        return tuple(Path(shutil.copy(package, out)) for package in made)


def package_version(version: str) -> str:
    """Translate a Python version: in packages, what comes before a release has a tilde."""
    return re.sub(r"\.?(dev|a|b|rc)(\d)", r"~\1\2", version)


def _pack(program: Path, directory: Path, kind: str, variables: dict[str, str]) -> Path:
    target = directory / "out" / kind
    target.mkdir(parents=True)
    argv = [str(program), "package", "-p", kind, "-t", str(target)]
    argv += ["-f", str(_HERE / "nfpm.yaml")]
    _run(argv, cwd=directory, variables=variables)
    (package,) = target.iterdir()
    return package


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _normalise(directory: Path) -> None:
    """Give everything the modes and the time that it has in every build."""
    epoch = _epoch()
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))


def _epoch() -> int:
    """Date what is built by the last commit, so that two builds of it are the same."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    argv = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return int((ROOT / "exporter/__init__.py").stat().st_mtime)
    return int(said)


def _run(
    argv: list[str], cwd: Path | None = None, variables: dict[str, str] | None = None
) -> None:
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=os.environ | (variables or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}:\n{done.stdout[-4000:]}")


def main() -> int:
    """Build all four; without nfpm, which is said, wheel and sdist."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--arch", choices=tuple(wheels.MACHINES), default="amd64")
    arguments = parser.parse_args()
    project = project_wheel(arguments.out, with_sdist=True)
    try:
        made = packages(arguments.out, project, arch=arguments.arch)
    except (nfpm.NfpmError, wheels.WheelError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        print(f"LEFT OUT: deb and rpm; they take {error.needs}, then make dist")  # noqa: T201
        return int(os.environ.get("THINPOOL_REQUIRE_ALL") == "1")
    for path in made:
        print(path)  # noqa: T201 - its output
    return 0


if __name__ == "__main__":
    sys.exit(main())
