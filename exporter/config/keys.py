"""Every key of the file: how its value is read, and the field that takes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from msgspec import Struct

from exporter.config.document import Scalar
from exporter.model import GuardMode
from exporter.units import format_duration, parse_duration_seconds, parse_size_bytes, quoted

MIN_SECONDS = 0.01
MAX_SECONDS = 24 * 3600.0
MAX_VOLUMES, MAX_DIGITS = 1000, 9
ANY_POOL = "pools.VG/POOL"


class Key(Struct, frozen=True):
    """One key of the file: its name there, how it is read, and the field that takes it."""

    name: str
    convert: Callable[[Scalar], object]
    field: str

    @property
    def leaf(self) -> str:
        """The name after its last dot."""
        return self.name.rpartition(".")[2]


def _mode(scalar: Scalar) -> GuardMode:
    if scalar.text in tuple(GuardMode):
        return GuardMode(scalar.text)
    raise ValueError(f"{quoted(scalar.text)} is not one of {', '.join(GuardMode)}")


def _switch(scalar: Scalar) -> bool:
    word = scalar.text.lower() if scalar.is_plain else ""
    if word not in {*YES, *NO}:
        raise ValueError(f"{quoted(scalar.text)} is not true or false")
    return word in YES


def _seconds(scalar: Scalar) -> float:
    """Read a span of time, which may be none."""
    seconds = parse_duration_seconds(scalar.text)
    if seconds > MAX_SECONDS:
        raise ValueError(f"{quoted(scalar.text)} is more than {format_duration(MAX_SECONDS)}")
    return seconds


def _positive_seconds(scalar: Scalar) -> float:
    seconds = _seconds(scalar)
    if seconds < MIN_SECONDS:
        raise ValueError(f"{quoted(scalar.text)} is less than {format_duration(MIN_SECONDS)}")
    return seconds


def _interval(scalar: Scalar) -> float:
    """Read how often the guard looks: after 30 s without a look it is called silent."""
    seconds = _positive_seconds(scalar)
    if seconds > MAX_INTERVAL_SECONDS:
        raise ValueError(f"{quoted(scalar.text)} is more than {MAX_INTERVAL_SECONDS:g}s")
    return seconds


def _size(scalar: Scalar) -> int:
    return parse_size_bytes(scalar.text)


def _positive_size(scalar: Scalar) -> int:
    size_bytes = _size(scalar)
    if not size_bytes:
        raise ValueError(f"{quoted(scalar.text)} leaves no space at all")
    return size_bytes


def _volumes(scalar: Scalar) -> int:
    """Read how many volumes: each is some series in Prometheus, for each pool of each host."""
    if (
        not scalar.text.isascii()
        or not scalar.text.isdecimal()
        or len(scalar.text) > MAX_DIGITS
    ):
        raise ValueError(f"{quoted(scalar.text)} is not a whole number")
    count = int(scalar.text)
    if count > MAX_VOLUMES:
        raise ValueError(f"{quoted(scalar.text)} is more than {MAX_VOLUMES}")
    return count


def _program(scalar: Scalar) -> str:
    # Absolute: a guard that runs as root starts nothing that PATH chooses.
    if not PurePosixPath(scalar.text).is_absolute() or not scalar.text.isprintable():
        raise ValueError(f"{quoted(scalar.text)} is not an absolute path")
    return scalar.text


MAX_INTERVAL_SECONDS = 10.0
YES = ("true", "yes", "on")
NO = ("false", "no", "off")
SECTIONS = ("guard", "collect", "pools", "commands", "hook")
# Keys of earlier versions that no longer mean anything: a file that has one stays valid.
IGNORED = frozenset({"commands.dmsetup"})
KEYS = (
    Key("guard.mode", _mode, "mode"),
    Key("guard.reserve", _size, "reserve_bytes"),
    Key("guard.takeover_after", _seconds, "takeover_after_seconds"),
    Key("guard.anticipate", _switch, "anticipate"),
    Key("guard.horizon", _seconds, "horizon_seconds"),
    Key("guard.interval", _interval, "interval_seconds"),
    Key("collect.lvm_interval", _positive_seconds, "lvm_interval_seconds"),
    Key("collect.policy_interval", _positive_seconds, "policy_interval_seconds"),
    Key("collect.docker_interval", _positive_seconds, "docker_interval_seconds"),
    Key("collect.lvm_deadline", _positive_seconds, "lvm_deadline_seconds"),
    Key("collect.docker_deadline", _positive_seconds, "docker_deadline_seconds"),
    Key("collect.extend_deadline", _positive_seconds, "extend_deadline_seconds"),
    Key("collect.top_volumes", _volumes, "top_volumes"),
    Key("collect.require_docker", _switch, "require_docker"),
    Key(f"{ANY_POOL}.max_size", _positive_size, "max_size_bytes"),
    Key(f"{ANY_POOL}.mode", _mode, "mode"),
    Key(f"{ANY_POOL}.anticipate", _switch, "anticipate"),
    Key("commands.lvm", _program, "lvm"),
    Key("commands.docker", _program, "docker"),
    Key("hook.command", _program, "command"),
    Key("hook.deadline", _positive_seconds, "deadline_seconds"),
)
