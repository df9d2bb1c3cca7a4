"""The packages as far as this host can tell: their wheels, environments, files and scripts.

tests/vm/test_packages.py installs them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from exporter import config
from exporter.config import Settings
from systemd.package import build, wheels

PACKAGE = build.ROOT / "systemd" / "package"
ARCH = "amd64"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the project's wheel."""
    return build.project_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Path:
    """Lay out what the packages contain."""
    directory = tmp_path_factory.mktemp("staged")
    build.stage(directory, project, ARCH)
    return directory


def python_of(version: str) -> str | None:
    """Find a Python of this version on the machine; the one that runs the tests is there."""
    kept = Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")
    for candidate in (shutil.which(f"python{version}"), *map(str, sorted(kept))):
        if candidate is None:
            continue
        asked = subprocess.run(
            [candidate, "-I", "-c", "import venv"], capture_output=True, check=False
        )
        if asked.returncode == 0:
            return candidate
    return None


PYTHONS_HERE = {one: found for one in wheels.PYTHONS if (found := python_of(one))}


@pytest.mark.parametrize("python", wheels.PYTHONS)
def test_every_python_finds_all_that_it_needs(staged: Path, project: Path, python: str) -> None:
    """Every requirement is met, by wheels that this Python can load, and by no others."""
    house = wheels.of_python(staged / "wheels", python)

    met, missing = wheels.closure(project, house, python, ARCH)

    assert not missing
    assert {wheel.name for wheel in met} | {project.name} == {wheel.name for wheel in house}
    loadable = set(tags(python))
    for wheel in house:
        assert parse_wheel_filename(wheel.name)[3] & loadable, wheel.name


def tags(python: str) -> Iterator[Tag]:
    """List the wheel tags that a CPython on a host of the oldest kind takes."""
    major, minor = python.split(".")
    version = (int(major), int(minor))
    known = list(wheels.platforms(ARCH))
    # What is older than a platform runs on it.
    older = [f"manylinux_2_{number}_x86_64" for number in range(5, 28)]
    yield from cpython_tags(version, platforms=[*known, *older])
    yield from compatible_tags(version, platforms=known)


def test_what_pythons_share_is_carried_once(staged: Path) -> None:
    """No wheel lies in two folders, and none that runs everywhere in that of one Python."""
    house = staged / "wheels"
    names = [path.name for path in house.rglob("*.whl")]

    assert len(names) == len(set(names))
    of_each = [set(wheels.of_python(house, python)) for python in wheels.PYTHONS]
    assert set.intersection(*of_each) == set((house / wheels.SHARED).glob("*.whl"))


@pytest.fixture
def unpacked(staged: Path, tmp_path: Path) -> Path:
    """Put the script and the wheels side by side, as nfpm.yaml does."""
    shutil.copy(PACKAGE / "environment.py", tmp_path)
    shutil.copytree(staged / "wheels", tmp_path / "wheels")
    return tmp_path


def environment(unpacked: Path, python: str, task: str) -> int:
    """Run the script with a Python; its exit status."""
    argv = [python, "-I", str(unpacked / "environment.py"), task]
    argv += ["--prefix", str(unpacked / "prefix")]
    return subprocess.run(argv, capture_output=True, check=False).returncode


@pytest.mark.parametrize("version", PYTHONS_HERE)
def test_the_environment_is_made_by_a_python_alone(unpacked: Path, version: str) -> None:
    """Without pip, which would look for an index; the program runs in it."""
    assert environment(unpacked, PYTHONS_HERE[version], "make") == 0

    prefix = unpacked / "prefix"
    assert prefix.is_symlink()
    argv = [str(prefix / "bin/thinpool-exporter"), "--version"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(rf"thinpool-exporter \S+ \(Python {version}\.\d+\)\n", said)
    assert list(prefix.resolve().rglob("exporter/__pycache__/*.pyc"))


def test_an_environment_takes_the_place_of_what_was_there(unpacked: Path) -> None:
    """A folder made by hand is put aside; what is out of use goes when tidy is asked for.

    An older package's wheels lie there too, as they do while rpm upgrades.
    """
    shared = unpacked / "wheels" / wheels.SHARED
    (present,) = shared.glob("thinpool_exporter-*.whl")
    shutil.copy(present, shared / "thinpool_exporter-0.0.1-py3-none-any.whl")
    prefix = unpacked / "prefix"
    prefix.mkdir()
    (prefix / "by hand").touch()
    old = unpacked / "prefix.d" / "old"
    old.mkdir(parents=True)

    assert environment(unpacked, sys.executable, "make") == 0
    (aside,) = unpacked.glob("prefix.replaced-*")
    assert (aside / "by hand").exists()
    assert old.exists()

    assert environment(unpacked, sys.executable, "tidy") == 0
    assert list((unpacked / "prefix.d").iterdir()) == [prefix.resolve()]


def test_an_environment_that_cannot_be_made_leaves_the_old_one(unpacked: Path) -> None:
    """Here with a wheel that is cut off."""
    (victim,) = (unpacked / "wheels" / wheels.SHARED).glob("structlog-*.whl")
    victim.write_bytes(victim.read_bytes()[:-1000])
    old = unpacked / "prefix.d" / "old"
    old.mkdir(parents=True)
    (unpacked / "prefix").symlink_to("prefix.d/old")

    assert environment(unpacked, sys.executable, "make") != 0
    assert (unpacked / "prefix").resolve() == old
    assert list((unpacked / "prefix.d").iterdir()) == [old]


def test_the_configuration_carried_says_the_defaults() -> None:
    """As a comment; what the README shows, word for word."""
    text = (PACKAGE / "config.yml").read_text()
    head, _, body = text.partition("\n\n")
    bare = "".join(re.sub(r"^# ?", "", line) for line in body.splitlines(keepends=True))
    readme = (build.ROOT / "systemd/README.md").read_text()
    (shown,) = re.findall(r"```yaml\n(guard:.*?)```", readme, re.DOTALL)

    assert config.parse(text) == Settings()
    assert config.parse(bare) == Settings()
    assert bare.replace("see README, Hooks", "see Hooks") == shown
    assert all(line.startswith("#") for line in head.splitlines())


@pytest.mark.parametrize(
    ("python", "package"),
    [("0.2.0", "0.2.0"), ("0.2.0rc1", "0.2.0~rc1"), ("1.0.dev3", "1.0~dev3")],
)
def test_the_version_of_a_package(python: str, package: str) -> None:
    """One that comes before a release sorts before it."""
    assert build.package_version(python) == package


def shell(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a line after the part that all scripts of the packages have in common."""
    line = f". {PACKAGE / 'common.sh'}\n{script}"
    return subprocess.run(
        ["sh", "-c", line, "script", *arguments], capture_output=True, text=True, check=False
    )


def fake(path: Path, line: str) -> None:
    """Make a program that is one line of shell."""
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def test_the_newest_python_is_taken(tmp_path: Path) -> None:
    """Of those that are whole."""
    fake(tmp_path / "python3.10", "exit 0")
    fake(tmp_path / "python3.13", "exit 0")
    fake(tmp_path / "python3.14", "echo '3.14.0, a part of it is missing: ssl' >&2; exit 1")

    done = shell('PLACES=$1; require_python; echo "$PYTHONS"', str(tmp_path))

    assert done.stdout.split() == [f"{tmp_path}/python3.13", f"{tmp_path}/python3.10"]


def test_a_real_python_is_asked(tmp_path: Path) -> None:
    """And answers that it will do."""
    (tmp_path / "python3").symlink_to(Path(sys.executable).resolve())

    assert shell("PLACES=$1; require_python", str(tmp_path)).returncode == 0


@pytest.mark.parametrize("found", [None, "3.9.2, which is not of 3.10 to 3.14"])
def test_without_a_python_it_says_what_was_found(tmp_path: Path, found: str | None) -> None:
    """And what to do."""
    if found:
        fake(tmp_path / "python3", f"echo '{found}' >&2; exit 1")

    done = shell("PLACES=$1; require_python", str(tmp_path))

    assert done.returncode == 1
    assert f"python3: {found}" in done.stderr if found else "Found: none" in done.stderr
    assert "apt-get install python3" in done.stderr
    assert "Nothing has been changed" in done.stderr


def test_every_python_that_has_wheels_is_looked_for() -> None:
    """By its own name, the newest first, and by the general one at last."""
    names = " ".join(f"python{python}" for python in reversed(wheels.PYTHONS))

    assert f"for name in {names} python3; do" in (PACKAGE / "common.sh").read_text()
    triggers = re.findall(r"- /usr/bin/python(\S+)", (PACKAGE / "nfpm.yaml").read_text())
    assert triggers == ["3", *wheels.PYTHONS]


SYSTEMD = """
SYSTEMD=$1 PREFIX=$1
systemctl() { case "$1" in show) echo "$STATE" ;; *) echo "systemctl $*" ;; esac; }
"""


def test_an_upgrade_restarts_what_runs(tmp_path: Path) -> None:
    """And nothing else."""
    (tmp_path / "bin").mkdir()
    fake(tmp_path / "bin/thinpool-exporter", "exit 0")

    running = shell(f"{SYSTEMD} STATE=active; restart_running", str(tmp_path))
    stopped = shell(f"{SYSTEMD} STATE=inactive; restart_running", str(tmp_path))

    restart = "systemctl try-restart thinpool-guard.service thinpool-exporter.service\n"
    assert running.stdout == f"systemctl daemon-reload\n{restart}"
    assert stopped.stdout == "systemctl daemon-reload\n"
    assert (running.returncode, stopped.returncode) == (0, 0)


def test_a_configuration_that_is_refused_leaves_the_old_guard(tmp_path: Path) -> None:
    """A restart would leave the host without any; the faults are shown."""
    (tmp_path / "bin").mkdir()
    fake(tmp_path / "bin/thinpool-exporter", "echo guard.mode: no such mode; exit 2")

    done = shell(f"{SYSTEMD} STATE=active; restart_running", str(tmp_path))

    assert done.returncode != 0
    assert "try-restart" not in done.stdout
    assert "guard.mode: no such mode" in done.stderr


@pytest.mark.parametrize(
    ("lines", "flags"),
    [
        ("ARGS=", ""),
        ("ARGS=--web.config.file=/a --web.systemd-socket", "/a --web.systemd-socket"),
        ('ARGS="--web.config.file=/b"', "/b"),
        ("ARGS='--web.config.file=/b'", "/b"),
        ("# ARGS=--web.config.file=/c\nARGS=--web.config.file=/d*\n", "/d*"),
        ("ARGS=--web.config.file=/e\nARGS=--web.config.file=/f", "/f"),
        (None, ""),
    ],
)
def test_an_upgrade_checks_the_web_sides_flags(
    tmp_path: Path, lines: str | None, flags: str
) -> None:
    """As systemd reads them, with the files that they name."""
    (tmp_path / "bin").mkdir()
    fake(tmp_path / "bin/thinpool-exporter", 'echo "$@"')
    if lines is not None:
        (tmp_path / "default").write_text(f"{lines}\n")

    done = shell("PREFIX=$1 FLAGS=$1/default; check_config", str(tmp_path))

    wanted = f" --web.config.file={flags}" if flags else ""
    assert done.stdout == f"check-config{wanted}\n"


def test_a_web_configuration_that_is_refused_leaves_the_old_version(tmp_path: Path) -> None:
    """By the real program: neither side is restarted, and the file is named."""
    (tmp_path / "bin").mkdir()
    program = f"cd {build.ROOT} && exec {sys.executable} -m exporter"
    fake(tmp_path / "bin/thinpool-exporter", f'{program} "$@"')
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: none}\n")
    address = "--web.listen-address=:10128"

    def upgrade(flags: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "default").write_text(f"ARGS={address} {flags}\n")
        state = f"{SYSTEMD} FLAGS=$1/default STATE=active"
        return shell(f"{state}; restart_running", str(tmp_path))

    for flags in (f"--web.config.file={tmp_path}/web.yml", "--web.no-such-flag"):
        done = upgrade(flags)
        assert done.returncode != 0
        assert "try-restart" not in done.stdout
        assert flags.rpartition("=")[2] in done.stderr
    assert "try-restart" in upgrade("").stdout


def test_only_a_purge_disables_a_deb(tmp_path: Path) -> None:
    """A package that is removed and installed again is enabled as before."""
    wanted = tmp_path / "multi-user.target.wants"
    wanted.mkdir()
    for name in ("thinpool-guard.service", "thinpool-exporter.service", "other.service"):
        (wanted / name).symlink_to("/nonexistent")

    def script(name: str, argument: str) -> None:
        text = (PACKAGE / "deb" / name).read_text()
        state = f"{SYSTEMD} WANTED=$1 ENVIRONMENTS=$1/x STATE=active"
        spared = "remove_state() { :; }; getent() { false; }; rmdir() { :; }"
        done = shell(f"{state}; {spared}; set -- {argument}; {text}", str(tmp_path))
        assert done.returncode == 0, done.stderr

    script("prerm.sh", "remove")
    script("postrm.sh", "remove")
    assert len(list(wanted.iterdir())) == 3

    script("postrm.sh", "purge")
    assert [path.name for path in wanted.iterdir()] == ["other.service"]


@pytest.mark.parametrize(
    ("is_enabled", "state", "is_told"),
    [("true", "inactive", True), ("true", "active", False), ("false", "inactive", False)],
)
def test_a_unit_that_is_enabled_and_stopped_is_told(
    tmp_path: Path,
    is_enabled: str,
    state: str,
    is_told: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Installed again, it would start at the next boot only."""
    answers = f"systemctl() {{ case $1 in show) echo {state} ;; *) {is_enabled} ;; esac; }}"

    done = shell(f"SYSTEMD=$1; {answers}; tell_stopped_units", str(tmp_path))

    assert done.returncode == 0
    assert ("systemctl start thinpool-guard.service" in done.stderr) is is_told


@pytest.mark.parametrize(("status", "made"), [(0, ""), (1, "made\nrestarted\ntidied\n")])
def test_another_python_on_the_host(tmp_path: Path, status: int, made: str) -> None:
    """The environment is made anew where its own interpreter has ceased to work."""
    (tmp_path / "bin").mkdir()
    fake(tmp_path / "bin/python", f"exit {status}")
    stubs = (
        "make_environment() { echo made; }; restart_running() { echo restarted; }; "
        "tidy() { echo tidied; }"
    )

    done = shell(f"PREFIX=$1; {stubs}; mend", str(tmp_path))

    assert done.stdout == made
    assert done.returncode == 0
