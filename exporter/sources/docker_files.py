"""How dockerd is configured: flags and files in, where its data is out. Pure."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable

import msgspec
from msgspec import Struct, structs

from exporter.dm_names import join_dm_name
from exporter.errors import ParseError, quote
from exporter.sources.engine_files import EngineFile

DOCKER_ROOT = "/var/lib/docker"
DEVICEMAPPER = "devicemapper"
POOL_OPTIONS = frozenset({"dm.thinpooldev", "devicemapper.thinpooldev"})
DM_DIRECTORY = "/dev/mapper/"
# Flags of any version of dockerd that say where its data is.
ROOT, DRIVER, OPTION, CONFIG_FILE = "root", "driver", "option", "config_file"
FLAGS = {
    **dict.fromkeys(("--data-root", "--graph", "-g"), ROOT),
    **dict.fromkeys(("--storage-driver", "-s"), DRIVER),
    "--storage-opt": OPTION,
    "--config-file": CONFIG_FILE,
}
SHORT_FLAG = re.compile(r"-[gs][^=]")
ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(\w+)\s*=(.*)", re.ASCII)
EXEC = "ExecStart"
# docker-storage-setup's default name of its pool.
SETUP_POOL = "docker-pool"


class _DaemonJson(Struct, frozen=True, rename="kebab"):
    """The keys that we use; `graph` was `data-root` before 17.05."""

    data_root: str | None = None
    graph: str | None = None
    storage_driver: str | None = None
    storage_opts: list[str] | None = None
    features: dict[str, bool] | None = None


_daemon_json = msgspec.json.Decoder(_DaemonJson)


def parse_daemon_json(text: str) -> EngineFile:
    """Read Docker's /etc/docker/daemon.json, which may be empty.

    Raises ParseError. Source: moby daemon/config/config.go.
    """
    if not text.strip():
        return EngineFile()
    try:
        found = _daemon_json.decode(text.encode("utf-8", "backslashreplace"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ParseError("daemon.json", text, f"not its JSON ({quote(str(error))})") from error
    said = _docker(
        found.data_root or found.graph, found.storage_driver, found.storage_opts or ()
    )
    is_store = (found.features or {}).get("containerd-snapshotter")
    return structs.replace(said, is_containerd_store=is_store)


def parse_docker_flags(words: Iterable[str]) -> EngineFile:
    """Read dockerd's flags from a command line, or from a part of one.

    Source: moby daemon/command/config.go, config_unix.go; pflag for the forms of a flag.
    """
    found: dict[str, list[str]] = defaultdict(list)
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag in FLAGS:
            found[FLAGS[flag]].append(value if equals else next(rest, ""))
        elif SHORT_FLAG.match(word):
            found[FLAGS[word[:2]]].append(word[2:])
    last = {meaning: values[-1] for meaning, values in found.items()}
    said = _docker(last.get(ROOT), last.get(DRIVER), found[OPTION])
    return structs.replace(said, config_file=last.get(CONFIG_FILE) or None)


def _docker(root: str | None, driver: str | None, options: Iterable[str]) -> EngineFile:
    pool = _pool_of(options)
    # Other drivers refuse this option.
    driver = driver or (DEVICEMAPPER if pool else None)
    return EngineFile(root=root or None, driver=driver, pool_device=pool)


def _pool_of(options: Iterable[str]) -> str | None:
    """Find the pool's device among storage options, of which the last one counts.

    Docker trims both sides of a `key=value`, and the case of a key means nothing to it.
    Source: moby pkg/parsers/parsers.go, ParseKeyValueOpt; devmapper/deviceset.go.
    """
    pool = None
    for option in options:
        key, _, value = option.partition("=")
        if key.strip().lower() in POOL_OPTIONS:
            pool = value.strip().removeprefix(DM_DIRECTORY) or None
    return pool


def parse_assignments(text: str) -> dict[str, str]:
    """Read `NAME=value` lines: of files in /etc/sysconfig, or of a unit of systemd's.

    A value is quoted, or ends with the line, which a backslash there continues. The last one of
    a name counts. Lines of another form say nothing. Source: systemd.exec(5).
    """
    found = {}
    for line in text.replace("\\\n", " ").split("\n"):
        match = ASSIGNMENT.fullmatch(line)
        if match:
            words = _split(match[2])
            found[match[1]] = words[0] if len(words) == 1 else match[2]
    return found


def parse_sysconfig(text: str) -> EngineFile:
    """Read dockerd's flags from the values in such a file."""
    said = parse_assignments(text).items()
    values = [value for name, value in said if name == EXEC or not name.startswith("Exec")]
    return parse_docker_flags(word for value in values for word in _split(value))


def parse_storage_setup(text: str) -> EngineFile:
    """Read docker-storage-setup's file: the pool that it makes, if it names a VG.

    Source: container-storage-setup.sh, css.conf.
    """
    said = parse_assignments(text)
    if not said.get("VG") or said.get("STORAGE_DRIVER", DEVICEMAPPER) != DEVICEMAPPER:
        return EngineFile()
    pool = join_dm_name(said["VG"], said.get("CONTAINER_THINPOOL") or SETUP_POOL)
    return EngineFile(driver=DEVICEMAPPER, pool_device=pool)


def _split(text: str) -> list[str]:
    """Split like a shell. Text with an unclosed quote is split at blanks."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
