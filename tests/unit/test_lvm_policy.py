"""The policy in force, as LVM of every age tells it, and the oldest does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec import structs

from exporter.command import Output
from exporter.errors import CommandFailedError, HostError
from exporter.model import Policy
from exporter.sources import policy

DUMP = """activation {
\tvolume_list=["docker", "my-vg"]
\tthin_pool_autoextend_percent=30
}
"""
CONFIGURED = Policy(threshold_percent=100, step_percent=30, is_monitoring_enabled=True)
PROFILED = Policy(threshold_percent=80, step_percent=30, is_monitoring_enabled=True)
PROFILE = "activation {\n\tthin_pool_autoextend_threshold=80\n}\n"


class Lvm:
    """Understands what `version` did; has one profile, "p"."""

    def __init__(self, version: tuple[int, int, int], dump: str = DUMP) -> None:
        self.version = version
        self.dump = dump
        self.asked: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str]) -> Output:
        """Run one command."""
        self.asked.append(argv)
        return Output(argv=tuple(argv), status=0, stdout=self._answer(argv), stderr="")

    def _answer(self, argv: Sequence[str]) -> str:
        if argv[1] == "version":
            return "  LVM version:     {}.{:02}.{:02}(2)\n".format(*self.version)
        if argv[1] == "lvmconfig" and self.version < (2, 2, 119):
            raise CommandFailedError(argv, 2, "No such command.")
        needs = {"--mergedconfig": 99, "--metadataprofile": 107, "full": 123}
        if any(word in argv and self.version < (2, 2, at) for word, at in needs.items()):
            raise CommandFailedError(argv, 3, "Error during parsing of command line.")
        profile = (
            argv[argv.index("--metadataprofile") + 1] if "--metadataprofile" in argv else ""
        )
        if profile not in {"", "p"}:
            raise CommandFailedError(argv, 5, f"Failed to apply metadata profile {profile}.")
        if "full" in argv:
            threshold = 80 if profile else 100
            keys = f"thin_pool_autoextend_threshold={threshold}\nmonitoring=1\n"
            return f"{keys}thin_pool_autoextend_percent=30\n"
        return self.dump + (PROFILE if profile else "")


def read_file(path: Path) -> str:
    """Find one profile, where LVM would."""
    if path != Path("/etc/lvm/profile/p.profile"):
        raise policy.ProfileError(f"{path}: No such file or directory")
    return PROFILE


@pytest.mark.parametrize("release", [98, 99, 106, 107, 119, 122, 123, 187])
def test_every_age_gives_the_same(release: int) -> None:
    """By lvmconfig, by dumpconfig, or by the profile's file; a missing one is found."""
    lvm = Lvm((2, 2, release))

    found = policy.read(lvm, "lvm", ["p", "gone", ""], read_file=read_file)

    assert found.by_profile == {"": CONFIGURED, "p": PROFILED, "gone": CONFIGURED}
    assert list(found.unreadable_profiles) == ["gone"]
    assert found.lvm_version == (2, 2, release)


def test_a_newer_lvm_is_asked_as_ever() -> None:
    """A command for each profile, and no other."""
    lvm = Lvm((2, 3, 16))

    policy.read(lvm, "lvm", ["p"], read_file=read_file)

    assert lvm.asked == [
        policy.argv_lvmconfig("lvm", ""),
        policy.argv_lvmconfig("lvm", "p"),
        policy.argv_version("lvm"),
    ]


@pytest.mark.parametrize(
    "text", ["activation {", 'activation/thin_pool_autoextend_threshold="high"', "="]
)
def test_a_profile_that_cannot_be_used_is_as_good_as_none(text: str) -> None:
    """LVM would ignore it too."""
    found = policy.read(Lvm((2, 2, 103)), "lvm", ["p"], read_file=lambda _: text)

    assert found.by_profile["p"] == CONFIGURED
    assert list(found.unreadable_profiles) == ["p"]


def test_a_profile_sets_nothing_else() -> None:
    """Monitoring is for the host alone."""
    text = PROFILE + "activation/monitoring=0\nconfig/profile_dir=/\n"

    found = policy.read(Lvm((2, 2, 103)), "lvm", ["p"], read_file=lambda _: text)

    assert found.by_profile["p"] == PROFILED


def test_profiles_are_where_the_configuration_says() -> None:
    """By config/profile_dir."""
    asked: list[Path] = []

    def read_elsewhere(path: Path) -> str:
        asked.append(path)
        return PROFILE

    lvm = Lvm((2, 2, 103), DUMP + 'config {\n\tprofile_dir="/srv/profiles"\n}\n')
    policy.read(lvm, "lvm", ["p"], read_file=read_elsewhere)

    assert asked == [Path("/srv/profiles/p.profile")]


@pytest.mark.parametrize("status", [1, 4, 5])
def test_an_lvm_that_does_not_tell_its_default_is_an_error(status: int) -> None:
    """Another way is for those alone that do not understand the question."""

    def run(argv: Sequence[str]) -> Output:
        raise CommandFailedError(argv, status, "no")

    with pytest.raises(HostError):
        policy.read(run, "lvm", [])


def test_reads_a_profiles_file(tmp_path: Path) -> None:
    """One that is not there names itself."""
    path = tmp_path / "p.profile"
    with pytest.raises(policy.ProfileError, match=r"p\.profile"):
        policy.read_profile(path)

    path.write_text(PROFILE)

    assert policy.read_profile(path) == PROFILE


@pytest.mark.parametrize(
    "argv_of", [policy.argv_dumpconfig, policy.argv_version], ids=["dumpconfig", "version"]
)
def test_commands_name_the_program(argv_of: Callable[[str], tuple[str, ...]]) -> None:
    """And nothing that every version does not know."""
    assert argv_of("/sbin/lvm")[0] == "/sbin/lvm"
    assert len(argv_of("/sbin/lvm")) == 2


@pytest.mark.parametrize(
    ("lines", "expected", "faulty"),
    [
        ({"threshold": '"80"'}, CONFIGURED, "thin_pool_autoextend_threshold"),
        ({"threshold": "70.0"}, CONFIGURED, "thin_pool_autoextend_threshold"),
        ({"threshold": '["80","20"]'}, CONFIGURED, "thin_pool_autoextend_threshold"),
        ({"percent": "1e3"}, structs.replace(CONFIGURED, step_percent=20), "percent"),
        ({"monitoring": '"maybe"'}, CONFIGURED, "monitoring"),
        ({"monitoring": '"no"'}, structs.replace(CONFIGURED, is_monitoring_enabled=False), ""),
        ({"monitoring": '"on"'}, CONFIGURED, ""),
        ({"monitoring": "2"}, CONFIGURED, ""),
    ],
)
def test_a_value_of_no_use_costs_that_value(
    lines: dict[str, str], expected: Policy, faulty: str
) -> None:
    """LVM takes its default for it and goes on; the pool's own profile counts all the same."""
    values = {"threshold": "100", "percent": "30", "monitoring": "1"} | lines

    def run(argv: Sequence[str]) -> Output:
        if argv[1] == "version":
            return Output(argv=tuple(argv), status=0, stdout="", stderr="")
        found = values | ({"threshold": "80"} if "--metadataprofile" in argv else {})
        text = (
            f"thin_pool_autoextend_threshold={found['threshold']}\n"
            f"thin_pool_autoextend_percent={found['percent']}\n"
            f"monitoring={found['monitoring']}\n"
        )
        return Output(argv=tuple(argv), status=0, stdout=text, stderr="")

    policies = policy.read(run, "lvm", ["p"])

    assert policies.by_profile == {
        "": expected,
        "p": structs.replace(expected, threshold_percent=80),
    }
    assert policies.unreadable_profiles == {}
    assert [faulty in fault for fault in policies.faults] == ([True] if faulty else [])
    assert all("LVM takes its default" in fault for fault in policies.faults)
