"""How dockerd is configured: every form in which flags and files name its data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import ParseError
from exporter.sources.docker_files import (
    parse_daemon_json,
    parse_docker_flags,
    parse_storage_setup,
    parse_sysconfig,
)
from exporter.sources.engine_files import EngineFile

POOL = EngineFile(driver="devicemapper", pool_device="node--vg-docker--pool")
# As docker-storage-setup writes it.
STORAGE = (
    "--storage-driver devicemapper --storage-opt dm.fs=xfs --storage-opt "
    "dm.thinpooldev=/dev/mapper/node--vg-docker--pool --storage-opt "
    "dm.use_deferred_removal=true "
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EngineFile()),
        ("{}", EngineFile()),
        ('{"debug": true}', EngineFile()),
        ('{"data-root": "/data", "graph": "/old"}', EngineFile(root="/data")),
        ('{"graph": "/old", "data-root": ""}', EngineFile(root="/old")),
        ('{"features": {"buildkit": true}}', EngineFile()),
        (
            '{"features": {"containerd-snapshotter": false}}',
            EngineFile(is_containerd_store=False),
        ),
        (
            (
                '{"storage-driver": "devicemapper", "storage-opts": ["dm.fs=xfs", '
                '"dm.thinpooldev=/dev/mapper/node--vg-docker--pool"]}'
            ),
            POOL,
        ),
        ('{"storage-opts": ["devicemapper.thinpooldev=node--vg-docker--pool"]}', POOL),
    ],
)
def test_reads_daemon_json(text: str, expected: EngineFile) -> None:
    """By the names of its keys then and now."""
    assert parse_daemon_json(text) == expected


@pytest.mark.parametrize(
    "option",
    [
        "dm.thinpooldev = /dev/mapper/vg-pool",
        " dm.thinpooldev=vg-pool ",
        "DM.ThinPoolDev=vg-pool",
        "\tDm.THINPOOLDEV\t=\t/dev/mapper/vg-pool\n",
    ],
)
def test_reads_an_option_as_docker_does(option: str) -> None:
    """Trimmed, and its key in any case; whether on the command line or in a file."""
    assert parse_docker_flags(["--storage-opt", option]).pool_device == "vg-pool"


@pytest.mark.parametrize(
    "option",
    [
        "dm.thinpooldev",
        "dm.thinpooldev=",
        "dm.thinpooldevice=x",
        "dm. thinpooldev=x",
        "dm.fs=xfs",
    ],
)
def test_what_is_another_option_names_no_pool(option: str) -> None:
    """Docker would refuse most of these."""
    assert parse_docker_flags(["--storage-opt", option]) == EngineFile()


def test_of_two_pools_the_last_counts() -> None:
    """As in Docker's own loop over its options."""
    flags = ["--storage-opt=dm.thinpooldev=one", "--storage-opt", "dm.thinpooldev=two"]

    assert parse_docker_flags(flags).pool_device == "two"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dockerd -H fd://", EngineFile()),
        ("dockerd --data-root /data -s overlay2", EngineFile(root="/data", driver="overlay2")),
        ("dockerd --graph=/data --storage-driver=zfs", EngineFile(root="/data", driver="zfs")),
        ("docker daemon -g /data -s=zfs", EngineFile(root="/data", driver="zfs")),
        ("docker -d -g=/data -sdevicemapper", EngineFile(root="/data", driver="devicemapper")),
        ("dockerd --config-file /etc/d.json", EngineFile(config_file="/etc/d.json")),
        ("dockerd --data-root", EngineFile()),
        (f"dockerd {STORAGE}", POOL),
    ],
)
def test_reads_the_command_line(line: str, expected: EngineFile) -> None:
    """Every name that a flag had, and every form that it may have."""
    assert parse_docker_flags(line.split()) == expected


@pytest.mark.parametrize(
    "text",
    [
        f'DOCKER_STORAGE_OPTIONS="{STORAGE}"\n',
        f"DOCKER_STORAGE_OPTIONS={STORAGE}\n",
        f"# a comment\n  export STORAGE_OPTIONS='{STORAGE}'",
        f'OPTIONS="--selinux-enabled"\nDOCKER_OPTS="-D {STORAGE}"',
        f"DOCKER_STORAGE_OPTIONS=-s overlay\nDOCKER_STORAGE_OPTIONS={STORAGE}",
        f"[Service]\nExecStart=/usr/bin/dockerd \\\n  -H fd:// \\\n  {STORAGE}\nRestart=on\n",
        f"ExecStart=\nExecStart=/usr/bin/dockerd {STORAGE}\nExecStartPost=/bin/x -s zfs -g /no",
        'ExecStart=/usr/bin/dockerd --storage-opt "dm.thinpooldev = node--vg-docker--pool"',
    ],
    ids=["quoted", "bare", "shell", "suse", "twice", "unit", "drop-in", "words"],
)
def test_reads_flags_in_a_file(text: str) -> None:
    """Of docker-storage-setup, of distributions, and of systemd."""
    assert parse_sysconfig(text) == POOL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DOCKER_STORAGE_OPTIONS=\n",
        'DOCKER_STORAGE_OPTIONS=""',
        f"#DOCKER_STORAGE_OPTIONS={STORAGE}",
        "OPTIONS='--selinux-enabled --log-driver=journald --signature-verification=false'",
        "no assignment",
    ],
)
def test_a_file_without_such_flags_says_nothing(text: str) -> None:
    """As distributions ship it."""
    assert parse_sysconfig(text) == EngineFile()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DEVS=/dev/vdc\nVG=node-vg\nDATA_SIZE=60%FREE\n", POOL),
        ("STORAGE_DRIVER=devicemapper\nVG='vg'\nCONTAINER_THINPOOL=p", "vg-p"),
        ("STORAGE_DRIVER=overlay2\nVG=node-vg", EngineFile()),
        ("DEVS=/dev/vdc", EngineFile()),
    ],
)
def test_reads_the_pool_that_storage_setup_makes(text: str, expected: EngineFile | str) -> None:
    """By VG and name, where it makes one at all."""
    if isinstance(expected, str):
        expected = EngineFile(driver="devicemapper", pool_device=expected)

    assert parse_storage_setup(text) == expected


@pytest.mark.parametrize("text", ["{", "[]", '{"data-root": 5}', '{"a":' * 100_000])
def test_refuses_what_docker_would_refuse(text: str) -> None:
    """One kind of error, whatever the fault."""
    with pytest.raises(ParseError):
        parse_daemon_json(text)


@pytest.mark.parametrize("parse", [parse_daemon_json, parse_sysconfig, parse_storage_setup])
@given(st.text())
def test_any_text_gives_a_record_or_one_error(
    parse: Callable[[str], EngineFile], text: str
) -> None:
    """None of the parsers knows another way to end."""
    with contextlib.suppress(ParseError):
        assert parse(text) is not None
