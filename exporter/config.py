"""The configuration file: text in, frozen Settings or a ConfigError with every fault out.

YAML's events are read directly and each value is kept as it was written: neither
`mode: off` nor `reserve: 010` passes through YAML 1.1's guesses, no tag builds an
object, and no alias multiplies the text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import yaml
from msgspec import Struct, field
from msgspec.structs import replace

from exporter.errors import ConfigError
from exporter.model import GuardMode
from exporter.units import format_duration, parse_duration_seconds, parse_size_bytes, quoted

MAX_FILE_BYTES = 1024 * 1024
MAX_DEPTH = 8  # a pool's key has depth 3
MAX_FAULTS = 50
MIN_SECONDS = 0.01
MAX_SECONDS = 24 * 3600.0
# lvm(8): up to 127 of these, no hyphen first, neither "." nor ".."
LVM_NAME = re.compile(r"(?!\.{1,2}$)[\w+.][\w+.-]{0,126}", re.ASCII)
ANY_POOL = "pools.VG/POOL"
Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]
LOADER: Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class GuardSettings(Struct, frozen=True, kw_only=True):
    """What the guard may do and how eagerly."""

    mode: GuardMode = GuardMode.AUTO
    reserve_bytes: int = 0
    takeover_after_seconds: float = 30.0
    anticipate: bool = True
    horizon_seconds: float = 10.0
    interval_seconds: float = 1.0


class CollectSettings(Struct, frozen=True, kw_only=True):
    """When each source is read, and how long an answer may take."""

    lvm_interval_seconds: float = 15.0
    policy_interval_seconds: float = 60.0
    docker_interval_seconds: float = 60.0
    lvm_deadline_seconds: float = 30.0
    docker_deadline_seconds: float = 10.0
    extend_deadline_seconds: float = 60.0


class PoolSettings(Struct, frozen=True, kw_only=True):
    """What differs for one pool; None where nothing does."""

    max_size_bytes: int | None = None
    mode: GuardMode | None = None


class Commands(Struct, frozen=True, kw_only=True):
    """Where the host's programs are."""

    lvm: str = "/sbin/lvm"
    docker: str = "/usr/bin/docker"
    dmsetup: str = "/sbin/dmsetup"


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that the configuration decides; `pools` by `vg/pool`."""

    guard: GuardSettings = field(default_factory=GuardSettings)
    collect: CollectSettings = field(default_factory=CollectSettings)
    pools: dict[str, PoolSettings] = {}
    commands: Commands = field(default_factory=Commands)


class Scalar(Struct, frozen=True):
    """A value as it is written, without its quotes."""

    text: str
    is_plain: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing is written, or YAML's word for nothing."""
        return self.is_plain and self.text in {"", "~", "null"}


# None stands for a value whose fault is noted already.
Tree = Scalar | dict[str, "Tree | None"]
Names = tuple[str, ...]
Faults = list[str]
Events = Iterator[yaml.Event]
Values = dict[str, object]


class Key(Struct, frozen=True):
    """One key of the file: its name there, how it is read, and the field that takes it."""

    name: str
    convert: Callable[[Scalar], object]
    field: str

    @property
    def leaf(self) -> str:
        """The name after its last dot."""
        return self.name.rpartition(".")[2]


def load(path: Path | None, *, required: bool) -> Settings:
    """Read the file; a missing one that is not required leaves every default.

    Raises ConfigError.
    """
    if path is None:
        return Settings()
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not required:
            return Settings()
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_FILE_BYTES} bytes"])
    try:
        return parse(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 at byte {error.start + 1}"]) from error


def parse(text: str, loader: Loader = LOADER) -> Settings:
    """Read the file's text: YAML, with the keys of KEYS.

    Units: durations and sizes as exporter.units reads them.
    Raises ConfigError that holds every fault, each with its key or its line.
    """
    faults: Faults = []
    tree = _mapping(_read_yaml(text, loader, faults), "the file", faults)

    def values(section: str) -> Values:
        return _values(tree.get(section), section, faults=faults)

    settings = Settings(
        guard=replace(GuardSettings(), **values("guard")),
        collect=replace(CollectSettings(), **values("collect")),
        pools=_pools(tree.get("pools"), faults),
        commands=replace(Commands(), **values("commands")),
    )
    unknown = [name for name in tree if name not in SECTIONS]
    faults += [_unknown(_shown(name), "guard", name) for name in unknown[:MAX_FAULTS]]
    if faults:
        raise ConfigError(faults[:MAX_FAULTS] + ["and more"] * (len(faults) > MAX_FAULTS))
    return settings


def _pools(tree: Tree | None, faults: Faults) -> dict[str, PoolSettings]:
    pools = {}
    for name, value in _mapping(tree, "pools", faults).items():
        path = f"pools.{_shown(name)}"
        vg_name, _, pool_name = name.partition("/")
        if not (LVM_NAME.fullmatch(vg_name) and LVM_NAME.fullmatch(pool_name)):
            faults.append(f"{path}: not the name of a pool such as docker/thinpool")
        values = _values(value, ANY_POOL, path=path, faults=faults)
        pools[name] = replace(PoolSettings(), **values)
    return pools


def _values(tree: Tree | None, section: str, *, path: str = "", faults: Faults) -> Values:
    """Convert the values of one section, by the field that takes each."""
    keys = {key.leaf: key for key in KEYS if key.name == f"{section}.{key.leaf}"}
    path = path or section
    values = {}
    for leaf, value in _mapping(tree, path, faults).items():
        if len(faults) > MAX_FAULTS:
            break  # it takes time to find what each unknown key was meant to be
        if leaf not in keys:
            faults.append(_unknown(f"{path}.{_shown(leaf)}", section, leaf))
        elif value is not None:
            try:
                values[keys[leaf].field] = keys[leaf].convert(_scalar(value))
            except ValueError as error:
                faults.append(f"{path}.{leaf}: {error}")
    return values


def _scalar(value: Tree) -> Scalar:
    if not isinstance(value, Scalar):
        raise ValueError("takes one value, not keys of its own")  # noqa: TRY004 - the value is wrong
    if value.is_empty:
        raise ValueError("has no value")
    return value


def _mapping(tree: Tree | None, path: str, faults: Faults) -> dict[str, Tree | None]:
    """Take the keys below `path`; a section without any is as good as none."""
    if isinstance(tree, dict):
        return tree
    if tree is not None and not tree.is_empty:
        faults.append(f"{path}: takes keys of its own, not a value")
    return {}


def _unknown(path: str, section: str, leaf: str) -> str:
    """Name the key that was meant: of this section, or else of another."""
    by_nearness = sorted(KEYS, key=lambda key: key.name == f"{section}.{key.leaf}")
    known = {name: name for name in SECTIONS} | {key.leaf: key.name for key in by_nearness}
    near = difflib.get_close_matches(leaf[:100], known, 1)
    return f"{path}: unknown key" + (f"; did you mean {known[near[0]]}?" if near else "")


def _shown(name: str) -> str:
    return name if re.fullmatch(r"[\w+./-]{1,200}", name, re.ASCII) else quoted(name)


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


def _size(scalar: Scalar) -> int:
    return parse_size_bytes(scalar.text)


def _positive_size(scalar: Scalar) -> int:
    size_bytes = _size(scalar)
    if not size_bytes:
        raise ValueError(f"{quoted(scalar.text)} leaves no space at all")
    return size_bytes


def _program(scalar: Scalar) -> str:
    # Absolute: a guard that runs as root starts nothing that PATH chooses.
    if not PurePosixPath(scalar.text).is_absolute() or not scalar.text.isprintable():
        raise ValueError(f"{quoted(scalar.text)} is not an absolute path")
    return scalar.text


YES = ("true", "yes", "on")
NO = ("false", "no", "off")
SECTIONS = ("guard", "collect", "pools", "commands")
KEYS = (
    Key("guard.mode", _mode, "mode"),
    Key("guard.reserve", _size, "reserve_bytes"),
    Key("guard.takeover_after", _seconds, "takeover_after_seconds"),
    Key("guard.anticipate", _switch, "anticipate"),
    Key("guard.horizon", _seconds, "horizon_seconds"),
    Key("guard.interval", _positive_seconds, "interval_seconds"),
    Key("collect.lvm_interval", _positive_seconds, "lvm_interval_seconds"),
    Key("collect.policy_interval", _positive_seconds, "policy_interval_seconds"),
    Key("collect.docker_interval", _positive_seconds, "docker_interval_seconds"),
    Key("collect.lvm_deadline", _positive_seconds, "lvm_deadline_seconds"),
    Key("collect.docker_deadline", _positive_seconds, "docker_deadline_seconds"),
    Key("collect.extend_deadline", _positive_seconds, "extend_deadline_seconds"),
    Key(f"{ANY_POOL}.max_size", _positive_size, "max_size_bytes"),
    Key(f"{ANY_POOL}.mode", _mode, "mode"),
    Key("commands.lvm", _program, "lvm"),
    Key("commands.docker", _program, "docker"),
    Key("commands.dmsetup", _program, "dmsetup"),
)


def _read_yaml(text: str, loader: Loader, faults: Faults) -> Tree | None:
    """Read the one document; None where there is none, or none that can be read."""
    try:
        events = yaml.parse(text, loader)
        starts = (event for event in events if isinstance(event, yaml.NodeEvent))
        nodes = [_node(event, events, (), faults=faults) for event in starts]
    except (yaml.YAMLError, UnicodeError) as error:
        faults.append(_syntax_fault(error))
        return None
    if len(nodes) > 1:
        faults.append("the file: more than one document")
    return nodes[0] if nodes else None


def _syntax_fault(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())  # a sign that YAML does not allow, and its position


def _node(event: yaml.Event, events: Events, path: Names, *, faults: Faults) -> Tree | None:
    """Read one value, which begins with `event`."""
    if problem := _problem(event):
        faults.append(f"{_dotted(path)}: {problem} ({_line(event)})")
        _skip(event, events)
        return None
    if isinstance(event, yaml.ScalarEvent):
        return Scalar(event.value, not event.style)
    return _members(events, path, faults)


def _problem(event: yaml.Event) -> str:
    """Say what YAML allows here and we do not."""
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        return "anchors and aliases are not allowed"
    if (
        isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        and event.tag is not None
    ):
        return f"the tag {quoted(event.tag)} is not allowed"
    return "takes no list" if isinstance(event, yaml.SequenceStartEvent) else ""


def _members(events: Events, path: Names, faults: Faults) -> dict[str, Tree | None]:
    """Read a mapping's keys and values to its end."""
    members: dict[str, Tree | None] = {}
    while isinstance(event := next(events), yaml.NodeEvent):
        if not isinstance(event, yaml.ScalarEvent) or len(path) >= MAX_DEPTH:
            raise _stop(event)
        name = event.value
        value = _node(next(events), events, (*path, name), faults=faults)
        if name in members:
            faults.append(f"{_dotted((*path, name))}: written twice, again in {_line(event)}")
        members.setdefault(name, value)
    return members


def _skip(event: yaml.Event, events: Events) -> None:
    """Pass over the rest of a value."""
    depth = int(isinstance(event, yaml.CollectionStartEvent))
    while depth:
        event = next(events)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _stop(event)


def _stop(event: yaml.Event) -> yaml.YAMLError:
    """Read no further: YAML's readers take quadratic time for what is nested deeply."""
    return yaml.YAMLError(f"{_line(event)}: not a plain mapping of keys to values")


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}" if event.start_mark else "an unknown line"


def _dotted(path: Names) -> str:
    return ".".join(map(_shown, path)) or "the file"
