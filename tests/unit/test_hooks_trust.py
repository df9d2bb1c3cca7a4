"""Which file may be run as root: none that anybody else could have written or put there."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from exporter.hooks.trust import Trust, refusal

OTHER_UID = os.getuid() + 1


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Make a directory for hooks, which only its owner may write to."""
    directory = tmp_path / "etc"
    directory.mkdir(mode=0o755)
    return directory


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    """Trust whoever runs the tests, as the program trusts root."""
    return Trust(owner_uid=os.getuid(), root=str(tmp_path))


def make_hook(directory: Path, mode: int = 0o700) -> Path:
    """Write a hook that could be run."""
    hook = directory / "hook"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(mode)
    return hook


@pytest.mark.parametrize("mode", [0o500, 0o700, 0o755, 0o555, 0o4755])
def test_takes_a_file_that_is_the_owners_alone(etc: Path, trust: Trust, mode: int) -> None:
    """Readable by all or not."""
    assert refusal(str(make_hook(etc, mode)), trust) == ""


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o775])
def test_refuses_a_file_that_others_may_write(etc: Path, trust: Trust, mode: int) -> None:
    """And says how to change that."""
    hook = make_hook(etc, mode)

    assert refusal(str(hook), trust) == (
        f"{hook}: others than its owner may write to it: chmod go-w {hook}"
    )


def test_refuses_a_file_of_somebody_elses(etc: Path, tmp_path: Path) -> None:
    """Its owner could change it at any time, and so could its directory's."""
    hook = make_hook(etc)

    assert refusal(str(hook), Trust(owner_uid=OTHER_UID, root=str(tmp_path))) == "; ".join(
        f"{path}: belongs to user ID {os.getuid()}: chown {OTHER_UID} {path}"
        for path in (tmp_path, etc, hook)
    )


def test_refuses_a_file_that_is_not_executable(etc: Path, trust: Trust) -> None:
    """A forgotten chmod is the most common fault."""
    hook = make_hook(etc, 0o644)

    assert refusal(str(hook), trust) == f"{hook}: not executable: chmod u+x {hook}"


def test_names_every_fault_at_once(etc: Path, trust: Trust) -> None:
    """So that one look at the log is enough."""
    etc.chmod(0o775)
    hook = make_hook(etc, 0o666)

    assert refusal(str(hook), trust) == "; ".join(
        (
            f"{etc}: others than its owner may write to it: chmod go-w {etc}",
            f"{hook}: others than its owner may write to it: chmod go-w {hook}",
            f"{hook}: not executable: chmod u+x {hook}",
        )
    )


@pytest.mark.parametrize("mode", [0o770, 0o757, 0o2775])
def test_refuses_a_directory_that_others_may_write(
    tmp_path: Path, etc: Path, trust: Trust, mode: int
) -> None:
    """However far up: they could put another one in its place."""
    hook = make_hook(etc)
    tmp_path.chmod(mode)

    assert refusal(str(hook), trust) == (
        f"{tmp_path}: others than its owner may write to it: chmod go-w {tmp_path}"
    )


def test_a_sticky_directory_is_no_place(etc: Path, trust: Trust) -> None:
    """In /tmp the file can be put there before its owner does; nobody should chmod that."""
    hook = make_hook(etc)
    etc.chmod(0o1777)

    assert refusal(str(hook), trust) == (
        f"{etc}: others may write there; keep the file elsewhere, "
        "such as in /etc/thinpool-exporter"
    )


def test_directories_above_the_root_are_taken_as_they_are(tmp_path: Path, etc: Path) -> None:
    """The root itself is not."""
    hook = make_hook(etc)
    tmp_path.chmod(0o777)

    assert refusal(str(hook), Trust(owner_uid=os.getuid(), root=str(etc))) == ""


@pytest.mark.parametrize("is_relative", [True, False])
def test_follows_links(tmp_path: Path, etc: Path, trust: Trust, *, is_relative: bool) -> None:
    """To a file, through a directory, up and down."""
    hook = make_hook(etc)
    (tmp_path / "file").symlink_to("etc/../etc/hook" if is_relative else hook)
    (tmp_path / "directory").symlink_to("etc" if is_relative else etc)
    (tmp_path / "chain").symlink_to("directory/hook")

    for name in ("file", "directory/hook", "chain", "etc/../directory/../etc/hook"):
        assert refusal(f"{tmp_path}/{name}", trust) == ""


def test_a_link_is_judged_by_where_it_lies_and_where_it_leads(
    tmp_path: Path, etc: Path, trust: Trust
) -> None:
    """Whoever can write to either directory chooses what is run."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "link").symlink_to(make_hook(etc))
    (etc / "link").symlink_to(make_hook(home))
    home.chmod(0o777)
    fault = f"{home}: others than its owner may write to it: chmod go-w {home}"

    assert refusal(str(home / "link"), trust) == fault
    assert refusal(str(etc / "link"), trust) == fault
    assert refusal(f"{etc}/../home/../etc/hook", trust) == fault


def test_a_path_with_a_space_is_quoted(tmp_path: Path, trust: Trust) -> None:
    """What the message says to type can be typed."""
    directory = tmp_path / "my hooks"
    directory.mkdir()
    hook = make_hook(directory, 0o600)

    assert refusal(str(hook), trust).endswith(f": chmod u+x {shlex.quote(str(hook))}")
    assert refusal(str(hook) + "s", trust) == f"'{hook}s': No such file or directory"


def test_refuses_what_is_no_file(tmp_path: Path, etc: Path, trust: Trust) -> None:
    """A directory, a pipe, a loop, nothing at all, and something below a file."""
    hook = make_hook(etc)
    os.mkfifo(tmp_path / "pipe", 0o700)
    (tmp_path / "loop").symlink_to("loop")

    assert refusal(str(etc), trust) == f"{etc}: not a regular file"
    assert refusal(f"{tmp_path}/pipe", trust) == f"{tmp_path}/pipe: not a regular file"
    assert refusal(f"{tmp_path}/absent", trust).endswith(": No such file or directory")
    assert refusal(f"{hook}/below", trust).endswith(": Not a directory")
    assert refusal(f"{tmp_path}/loop", trust).endswith(": Too many levels of symbolic links")


def test_keeps_no_descriptor(etc: Path, trust: Trust) -> None:
    """It is asked before every run."""
    hook = make_hook(etc)
    before = sorted(Path("/proc/self/fd").iterdir())

    refusal(str(hook), trust)
    refusal(f"{hook}/below", trust)

    assert sorted(Path("/proc/self/fd").iterdir()) == before
