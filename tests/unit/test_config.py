"""The configuration file: what is taken, and that every fault is named at once."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import (
    CollectSettings,
    Commands,
    GuardSettings,
    HookSettings,
    PoolSettings,
    Settings,
    load,
    parse,
)
from exporter.config.document import Loader
from exporter.config.keys import KEYS
from exporter.config.load import MAX_FAULTS, MAX_FILE_BYTES
from exporter.errors import ConfigError
from exporter.model import GuardMode
from exporter.service.wiring import programs

GIB = 2**30
LOADERS = {yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)}
DESIGN = """
guard: {mode: auto, reserve: 0, takeover_after: 30s, anticipate: true, horizon: 10s}
collect: {lvm_interval: 15s, docker_interval: 60s, lvm_deadline: 30s, docker_deadline: 10s}
pools:
  docker/thinpool: {max_size: 500GiB, mode: always}
commands: {lvm: /sbin/lvm, docker: /usr/bin/docker}
"""
EVERYTHING = """
guard:
  mode: observe
  reserve: 10GB
  takeover_after: 1m
  anticipate: no
  horizon: 0s
  interval: 500ms
collect:
  lvm_interval: 1m30s
  policy_interval: 5m
  docker_interval: 1h
  lvm_deadline: 5s
  docker_deadline: 2s
  extend_deadline: 2m
pools:
  docker/thinpool:
    max_size: 1.5TiB
    mode: off
commands:
  lvm: /usr/sbin/lvm
  docker: /usr/local/bin/docker
hook:
  command: /etc/thinpool-exporter/on pool
  deadline: 5m
"""


def faults_of(text: str, loader: Loader = yaml.SafeLoader) -> tuple[str, ...]:
    """Collect the faults of a file that must have some."""
    with pytest.raises(ConfigError) as caught:
        parse(text, loader)
    return caught.value.faults


def test_the_defaults_are_the_designs() -> None:
    """What design.md promises to who writes no file."""
    assert Settings() == Settings(
        guard=GuardSettings(
            mode=GuardMode.AUTO,
            reserve_bytes=0,
            takeover_after_seconds=30,
            anticipate=True,
            horizon_seconds=10,
            interval_seconds=1,
        ),
        collect=CollectSettings(
            lvm_interval_seconds=15,
            policy_interval_seconds=60,
            docker_interval_seconds=60,
            lvm_deadline_seconds=30,
            docker_deadline_seconds=10,
            extend_deadline_seconds=60,
        ),
        pools={},
        commands=Commands(lvm="/sbin/lvm", docker="/usr/bin/docker"),
        hook=HookSettings(command=None, deadline_seconds=60),
    )


def test_reads_the_designs_example() -> None:
    """It repeats the defaults, and sets one pool."""
    assert parse(DESIGN) == Settings(
        pools={"docker/thinpool": PoolSettings(max_size_bytes=500 * GIB, mode=GuardMode.ALWAYS)}
    )


def test_a_file_that_names_dmsetup_stays_valid() -> None:
    """Earlier versions used it; an upgrade must not stop the guard."""
    text = "commands: {lvm: /opt/lvm, dmsetup: /usr/sbin/dmsetup}"

    assert parse(text) == Settings(commands=Commands(lvm="/opt/lvm"))


@pytest.mark.parametrize("loader", LOADERS)
def test_reads_every_key(loader: Loader) -> None:
    """Each key reaches the field that it is for, with either of YAML's readers."""
    assert parse(EVERYTHING, loader) == Settings(
        guard=GuardSettings(
            mode=GuardMode.OBSERVE,
            reserve_bytes=10 * GIB,
            takeover_after_seconds=60,
            anticipate=False,
            horizon_seconds=0,
            interval_seconds=0.5,
        ),
        collect=CollectSettings(
            lvm_interval_seconds=90,
            policy_interval_seconds=300,
            docker_interval_seconds=3600,
            lvm_deadline_seconds=5,
            docker_deadline_seconds=2,
            extend_deadline_seconds=120,
        ),
        pools={"docker/thinpool": PoolSettings(max_size_bytes=1536 * GIB, mode=GuardMode.OFF)},
        commands=Commands(lvm="/usr/sbin/lvm", docker="/usr/local/bin/docker"),
        hook=HookSettings(command="/etc/thinpool-exporter/on pool", deadline_seconds=300),
    )


def test_every_field_has_a_key() -> None:
    """No setting exists that the file cannot reach, and no key leads nowhere."""
    structs = {
        "guard": GuardSettings,
        "collect": CollectSettings,
        "pools.VG/POOL": PoolSettings,
        "commands": Commands,
        "hook": HookSettings,
    }
    reached = {(key.name.rpartition(".")[0], key.field) for key in KEYS}

    assert reached == {
        (section, field)
        for section, struct in structs.items()
        for field in struct.__struct_fields__
    }


@pytest.mark.parametrize(
    "text", ["", "# nothing", "---", "guard:", "guard: ~\npools:\ncollect: {}", "{}", "\ufeff"]
)
def test_nothing_written_leaves_the_defaults(text: str) -> None:
    """An empty file, or sections of which every line is commented out."""
    assert parse(text) == Settings()


def test_an_empty_pool_is_taken() -> None:
    """A pool that is only named differs in nothing."""
    assert parse("pools:\n  vg/pool:\n").pools == {"vg/pool": PoolSettings()}


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("off", "off"),
        ("'off'", "off"),
        ('"off"', "off"),
        ("auto", "auto"),
        ("always", "always"),
    ],
)
def test_off_is_a_word(written: str, mode: str) -> None:
    """YAML 1.1 reads a bare off as false; here it is the mode."""
    settings = parse(f"guard: {{mode: {written}}}\npools: {{vg/pool: {{mode: {written}}}}}")

    assert settings.guard.mode == settings.pools["vg/pool"].mode == GuardMode(mode)


@pytest.mark.parametrize(
    ("written", "anticipate"),
    [
        ("true", True),
        ("Yes", True),
        ("on", True),
        ("false", False),
        ("NO", False),
        ("off", False),
    ],
)
def test_reads_yamls_words_for_true_and_false(written: str, *, anticipate: bool) -> None:
    """All those that people are used to."""
    assert parse(f"guard: {{anticipate: {written}}}").guard.anticipate is anticipate


@pytest.mark.parametrize("written", ["010", "0", "1048576"])
def test_a_bare_number_is_bytes(written: str) -> None:
    """And never octal, as YAML 1.1 has it."""
    assert parse(f"guard: {{reserve: {written}}}").guard.reserve_bytes == int(written)


FAULTS = [
    ("guard: {mode: autoo}", 'guard.mode: "autoo" is not one of auto, always, observe, off'),
    ("guard: {mode: on}", 'guard.mode: "on" is not one of auto, always, observe, off'),
    ("guard: {mode: false}", 'guard.mode: "false" is not one of auto, always, observe, off'),
    ("guard: {mode: }", "guard.mode: has no value"),
    ("guard: {mode: null}", "guard.mode: has no value"),
    ("guard: {mode: [off]}", "guard.mode: takes no list (line 1)"),
    ("guard: {mode: {off: 1}}", "guard.mode: takes one value, not keys of its own"),
    ("guard: {reserve: -1}", 'guard.reserve: "-1" is not a size such as 500GiB or 64MiB'),
    ("guard: {reserve: 1.5}", 'guard.reserve: "1.5" is not a size such as 500GiB or 64MiB'),
    ("guard: {reserve: 9EiB}", 'guard.reserve: "9EiB" is more than 8 EiB'),
    ("guard: {reserve: .nan}", 'guard.reserve: ".nan" is not a size such as 500GiB or 64MiB'),
    ('guard: {anticipate: "true"}', 'guard.anticipate: "true" is not true or false'),
    ("guard: {anticipate: 1}", 'guard.anticipate: "1" is not true or false'),
    (
        "guard: {horizon: 10}",
        'guard.horizon: "10" is not a duration such as 30s, 1h30m or 500ms',
    ),
    (
        "guard: {horizon: .inf}",
        'guard.horizon: ".inf" is not a duration such as 30s, 1h30m or 500ms',
    ),
    (
        "guard: {horizon: 1:30}",
        'guard.horizon: "1:30" is not a duration such as 30s, 1h30m or 500ms',
    ),
    ("guard: {takeover_after: 2d}", 'guard.takeover_after: "2d" is more than 1d'),
    ("guard: {interval: 0}", 'guard.interval: "0" is less than 10ms'),
    ("collect: {lvm_interval: 0s}", 'collect.lvm_interval: "0s" is less than 10ms'),
    ("collect: {docker_deadline: 1ms}", 'collect.docker_deadline: "1ms" is less than 10ms'),
    ("pools: {vg/pool: {max_size: 0}}", 'pools.vg/pool.max_size: "0" leaves no space at all'),
    ("pools: {vg/pool: 5GiB}", "pools.vg/pool: takes keys of its own, not a value"),
    ("pools: {thinpool: {}}", "pools.thinpool: not the name of a pool such as docker/thinpool"),
    ("pools: {a/b/c: {}}", "pools.a/b/c: not the name of a pool such as docker/thinpool"),
    ("pools: {-a/b: {}}", "pools.-a/b: not the name of a pool such as docker/thinpool"),
    ("pools: {../b: {}}", "pools.../b: not the name of a pool such as docker/thinpool"),
    ("pools: {a b/c: {}}", 'pools."a b/c": not the name of a pool such as docker/thinpool'),
    ("pools: [vg/pool]", "pools: takes no list (line 1)"),
    ("commands: {lvm: lvm}", 'commands.lvm: "lvm" is not an absolute path'),
    ('commands: {docker: ""}', 'commands.docker: "" is not an absolute path'),
    ('commands: {docker: "/a\\0"}', 'commands.docker: "/a\\u0000" is not an absolute path'),
    ("hook: {command: notify.sh}", 'hook.command: "notify.sh" is not an absolute path'),
    ("hook: {command: }", "hook.command: has no value"),
    ("hook: {deadline: 0s}", 'hook.deadline: "0s" is less than 10ms'),
    ("hook: /bin/true", "hook: takes keys of its own, not a value"),
    ("hooks: {}", "hooks: unknown key; did you mean hook?"),
    ("guard: {modee: off}", "guard.modee: unknown key; did you mean guard.mode?"),
    (
        "guard: {lvm_interval: 1s}",
        "guard.lvm_interval: unknown key; did you mean collect.lvm_interval?",
    ),
    (
        "pools: {vg/pool: {mod: off}}",
        "pools.vg/pool.mod: unknown key; did you mean pools.VG/POOL.mode?",
    ),
    ("mode: off", "mode: unknown key; did you mean guard.mode?"),
    ("gaurd: {}", "gaurd: unknown key; did you mean guard?"),
    ("xyzzy: 1", "xyzzy: unknown key"),
    ("guard: {<<: {mode: off}}", 'guard."<<": unknown key'),
    ("guard: 5", "guard: takes keys of its own, not a value"),
    ("5", "the file: takes keys of its own, not a value"),
    ("- guard", "the file: takes no list (line 1)"),
    ("guard: {mode: off, mode: off}", "guard.mode: written twice, again in line 1"),
    ("guard:\n\nguard:\n", "guard: written twice, again in line 3"),
    (
        "guard: {mode: !!str off}",
        'guard.mode: the tag "tag:yaml.org,2002:str" is not allowed (line 1)',
    ),
    ("guard: &a {mode: off}", "guard: anchors and aliases are not allowed (line 1)"),
    ("guard: *a", "guard: anchors and aliases are not allowed (line 1)"),
    ("guard: {}\n---\nguard: {}", "the file: more than one document"),
    ("{[a]: 1}", "line 1: not a plain mapping of keys to values"),
]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(("text", "fault"), FAULTS, ids=[text for text, _ in FAULTS])
def test_names_the_key_of_each_fault(text: str, fault: str, loader: Loader) -> None:
    """In a sentence that says what is wrong with it, with either of YAML's readers."""
    assert faults_of(text, loader) == (fault,)


def test_names_all_faults_at_once() -> None:
    """Nobody should have to start the program once for each."""
    text = "guard: {mode: x, interval: 0s, a: 1}\ncollect: [1]\npools: {x: {mode: y}}\nz: 1\n"

    faults = faults_of(text)

    assert [fault.partition(":")[0] for fault in faults] == [
        "collect",
        "guard.mode",
        "guard.interval",
        "guard.a",
        "pools.x",
        "pools.x.mode",
        "z",
    ]


def test_the_error_reads_as_one_line() -> None:
    """Its text has every fault, for a log."""
    with pytest.raises(ConfigError, match=re.escape('"x" is not one of auto, always')):
        parse("guard: {mode: x}")


def test_ends_after_many_faults() -> None:
    """A file that is none of ours does not fill the screen."""
    faults = faults_of("guard: {" + ",".join(f"a{n}: 1" for n in range(9999)) + "}")

    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1] == "and more"


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("guard:\n  mode: a: b\n", "line 2, column 10: mapping values are not allowed"),
        ("\tguard: {}", "line 1, column 1: found character"),
        ('guard: "a', "line 1, column 10: found unexpected end of stream"),
        ("a: \x01", "unacceptable character #x0001"),
    ],
)
def test_a_syntax_error_has_its_place(text: str, place: str, loader: Loader) -> None:
    """Line and column, or the position of a sign that is not allowed."""
    assert faults_of(text, loader)[0].startswith(place)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "a: " + "[" * 200_000,
        "{a: " * 200_000,
        "- " * 200_000,
        "a: \ud800",
        "a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n" + "d: [*c,*c]\n",
        "!!python/object/apply:os.system [id]",
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.timeout(20)
def test_a_bomb_is_refused_at_once(text: str, loader: Loader) -> None:
    """Deep nesting, aliases of aliases, objects: none is ever built."""
    assert faults_of(text, loader)


@given(st.text() | st.text("{}[]:,&*!|>'\"%@`- \n#?ag", max_size=60))
def test_any_text_is_settings_or_faults(text: str) -> None:
    """Neither of YAML's readers ends in another exception."""
    for loader in LOADERS:
        with contextlib.suppress(ConfigError):
            assert isinstance(parse(text, loader), Settings)


def test_reads_the_file(tmp_path: Path) -> None:
    """With a byte order mark as well."""
    path = tmp_path / "config.yml"
    path.write_text(EVERYTHING, encoding="utf-8-sig")

    assert load(path, required=True) == parse(EVERYTHING)


@pytest.mark.parametrize("path", [None, Path("/nonexistent/config.yml")])
def test_without_a_file_everything_works(path: Path | None) -> None:
    """The file is optional where nobody named it."""
    assert load(path, required=False) == Settings()


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """Settings that silently do not hold are worse than an end."""
    with pytest.raises(ConfigError, match=r"config\.yml: No such file or directory"):
        load(tmp_path / "config.yml", required=True)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """Optional or not: somebody put it there."""
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, required=False)


def test_a_file_that_is_too_large_is_a_fault(tmp_path: Path) -> None:
    """It is no configuration, and is not read to its end."""
    path = tmp_path / "config.yml"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))

    with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
        load(path, required=True)


def test_a_file_that_is_no_utf_8_is_a_fault(tmp_path: Path) -> None:
    """With the place of the first byte that is none."""
    path = tmp_path / "config.yml"
    path.write_bytes(b"# caf\xe9\n")

    with pytest.raises(ConfigError, match="not UTF-8 at byte 6"):
        load(path, required=True)


def test_the_guard_looks_at_least_every_ten_seconds() -> None:
    """Metrics, page and readiness call a guard silent that does not cycle for half a minute."""
    assert parse("guard: {interval: 10s}").guard.interval_seconds == 10

    with pytest.raises(ConfigError, match=r"guard\.interval.*more than 10s"):
        parse("guard: {interval: 11s}")


@pytest.mark.parametrize("is_required", [False, True])
def test_docker_is_required_if_the_file_says_so(*, is_required: bool) -> None:
    """And not because its program is named."""
    text = f"collect: {{require_docker: {is_required}}}\ncommands: {{docker: /opt/docker}}"

    assert programs(parse(text)).is_docker_required == is_required
