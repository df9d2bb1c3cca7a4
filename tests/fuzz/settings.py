"""What people write, what the two processes leave for one another, and what HTTP asks."""

from __future__ import annotations

from collections.abc import Callable

import yaml

from exporter import config, publish, residence, watch
from exporter.collectors import families
from exporter.errors import ConfigError, ExporterError, ListenError
from exporter.guard import memory
from exporter.hooks.trust import ROOT_ALONE, refusal
from exporter.model import Snapshot
from exporter.units import parse_duration_seconds, parse_size_bytes
from exporter.web import access, listen, runbook
from exporter.web import config as web_config
from tests.factories import make_large_snapshot, make_snapshot
from tests.fuzz.sources import given, of_text, scratch, written
from tests.fuzz.target import Target, text

HASH = "$2y$10$" + "a" * 53
SETTINGS = """\
guard: {mode: auto, reserve: 10GiB, takeover_after: 1m, anticipate: true, horizon: 10s}
collect: {lvm_interval: 15s, docker_interval: 60s, lvm_deadline: 30s, docker_deadline: 10s}
pools:
  docker/thinpool: {max_size: 500GiB, mode: always}
commands: {lvm: /sbin/lvm, docker: /usr/bin/docker}
hook: {command: /etc/thinpool-exporter/hook, deadline: 5m}
"""
WEB_SETTINGS = f"""\
tls_server_config:
  cert_file: server.crt
  key_file: /abs/server.key
  client_ca_file: sub/ca.crt
  client_auth_type: RequireAndVerifyClientCert
  min_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256]
http_server_config: {{http2: false, headers: {{X-Frame-Options: deny}}}}
basic_auth_users:
  alice: {HASH}
rate_limit: {{interval: 100ms, burst: 5}}
"""
MAPS = """\
5555555c0000-555555860000 r-xp 0006c000 fe:01 1310 /usr/bin/python3.11
555555a00000-555555b00000 rw-p 00000000 00:00 0    [heap]
"""
LIBRARIES = """\
\tlinux-vdso.so.1 (0x00007ffd)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f00)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f01)
"""


def published(raw: bytes) -> Snapshot:
    """Read as the web side does."""
    directory = written(raw, f"run/{publish.FILE_NAME}").parent
    reader = publish.SnapshotReader(directory)
    reader.look()
    if reader.error:
        raise reader.error
    assert reader.snapshot is not None
    return reader.snapshot


def envelopes() -> list[bytes]:
    """Write Snapshots as the guard does."""
    found = []
    for snapshot in (make_snapshot(), make_large_snapshot(2)):
        publish.SnapshotWriter(scratch()).write(snapshot)
        found.append((scratch() / publish.FILE_NAME).read_bytes())
    return found


def samples(raw: bytes) -> object:
    """Make metrics of a Snapshot, whatever it says."""
    return [
        (sample.name, sample.labels, str(sample.value))
        for family in families(published(raw))
        for sample in family.samples
    ]


def settings(raw: bytes) -> object:
    """Read the configuration with both of YAML's readers, which must agree on what is good."""
    found = [config.parse(text(raw), loader) for loader in (yaml.SafeLoader, yaml.CSafeLoader)]
    assert found[0] == found[1]
    return found[0]


def settings_file(raw: bytes) -> object:
    """Read the configuration from its file."""
    return config.load(written(raw, "config.yml"), required=True)


def web_settings(raw: bytes) -> object:
    """Read the web configuration from its file; times are written as text."""
    found = web_config.load(written(raw, "web.yml"))
    assert found.rate_limit.interval_seconds >= 0
    access.Bucket(
        found.rate_limit.interval_seconds, found.rate_limit.burst, clock=lambda: 0.0
    ).take()
    return found


def remembered(raw: bytes) -> object:
    """Read what another guard has left; a file that makes no sense is as good as none."""
    boot_id = written(b"boot", "boot_id")
    path = written(raw, memory.FILE_NAME)
    return sorted(memory.MemoryFile(path.parent, boot_id_file=boot_id).load())


def listed(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """Make a parser of text that gives several things."""
    return of_text(lambda text: [str(found) for found in parse(text)])  # type: ignore[attr-defined]


def libraries(raw: bytes) -> object:
    """Find what lvm is started from, and look at it as the guard does."""
    found = list(residence.parse_libraries(text(raw)))
    for path in found:
        residence.identity(path)
    return [str(path) for path in found]


def profiles(raw: bytes) -> object:
    """List a directory whose one file has this name."""
    directory = written(b"", "lvm/profile/x").parent
    for old in directory.iterdir():
        old.unlink()
    try:
        (directory / raw.decode("utf-8", "surrogateescape")).write_bytes(b"")
    except (OSError, ValueError):
        return None  # no name of a file
    environment = {"LVM_SYSTEM_DIR": str(directory.parent)}
    files = watch.FilesWatch(lambda: watch.configuration_files(environment))
    files.has_changed()
    return None


MEMORY = b'{"boot_id":"boot","pools":{"docker/thinpool":{"above_since":3.5,"full_since":4}}}'

TARGETS = {
    # The guard writes it: what its numbers may be is held where they are read.
    "snapshot": Target(
        parse=published,
        has_limits=False,
        seeds=envelopes,
        is_json=True,
        errors=(ExporterError,),
        units=None,
    ),
    "metrics": Target(
        parse=samples,
        has_limits=False,
        seeds=envelopes,
        is_json=True,
        errors=(ExporterError,),
        units=None,
    ),
    "settings": Target(
        parse=settings, seeds=given(SETTINGS), errors=(ConfigError,), units=None
    ),
    "settings_file": Target(
        parse=settings_file, seeds=given(SETTINGS), errors=(ConfigError,), units=None
    ),
    "web_settings": Target(
        parse=web_settings, seeds=given(WEB_SETTINGS), errors=(ConfigError,), units=None
    ),
    "guard_memory": Target(parse=remembered, seeds=lambda: [MEMORY], units=None, is_json=True),
    "code_ranges": Target(
        parse=of_text(lambda text: list(residence.code_ranges(text))),
        seeds=given(MAPS),
        units=None,
    ),
    "libraries": Target(parse=libraries, seeds=given(LIBRARIES), units=None),
    "capabilities": Target(
        parse=of_text(residence.has_ipc_lock), seeds=given("CapEff:\t000001ffffffffff\n")
    ),
    "lvm_files": Target(parse=profiles, seeds=given("docker-thinpool.profile")),
    "hook_command": Target(
        parse=of_text(lambda text: refusal("/" + text, ROOT_ALONE)),
        seeds=given("etc/hostname", "bin/sh"),
        units=None,
    ),
    "duration": Target(
        parse=of_text(parse_duration_seconds),
        seeds=given("30s", "1h30m", "500ms"),
        errors=(ValueError,),
        units=None,
    ),
    "size": Target(
        parse=of_text(parse_size_bytes),
        seeds=given("500GiB", "1.5TB", "4096"),
        errors=(ValueError,),
        units=frozenset(1024**power for power in range(7)),
    ),
    "credentials": Target(
        parse=of_text(lambda text: access.parse_basic(text) is None),
        seeds=given("Basic dXNlcjpwYXNz"),
        units=None,
    ),
    "listen_address": Target(
        parse=of_text(listen.parse_address),
        seeds=given(":10128", "[::1]:10128"),
        errors=(ListenError,),
    ),
    "runbook_query": Target(
        parse=of_text(runbook.asked_for), seeds=given("vg=docker&pool=thinpool"), units=None
    ),
}
