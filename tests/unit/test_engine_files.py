"""Engines' configuration: every form in which it names its data, and what is none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import ParseError
from exporter.sources.engine_files import (
    ContainerdFile,
    EngineFile,
    parse_containerd,
    parse_storage_conf,
)

DEVMAPPER = EngineFile(root="/data/dm", driver="devmapper", pool_device="vg-pool")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ContainerdFile()),
        (
            'root = "/srv/containerd"\nimports = ["conf.d/*.toml", "/etc/other.toml"]\n',
            ContainerdFile(
                root="/srv/containerd", imports=("conf.d/*.toml", "/etc/other.toml")
            ),
        ),
        (
            '[plugins.devmapper]\nroot_path = "/data/dm"\npool_name = "vg-pool"\n',
            ContainerdFile(snapshotters={"devmapper": DEVMAPPER}),
        ),
        *(
            (
                (
                    f"version = {version}\n"
                    '[plugins."io.containerd.snapshotter.v1.devmapper"]\n'
                    'root_path = "/data/dm"\npool_name = "vg-pool"\nasync_remove = false\n'
                    f'[plugins."io.containerd.{cri}"]\nsnapshotter = "devmapper"\n'
                ),
                ContainerdFile(snapshotters={"devmapper": DEVMAPPER}),
            )
            for version, cri in ((2, "grpc.v1.cri"), (3, "cri.v1.images"))
        ),
        (
            (
                "disabled_plugins = ['io.containerd.snapshotter.v1.devmapper']\n"
                "[plugins.'io.containerd.snapshotter.v1.devmapper']\npool_name = ''\n"
            ),
            ContainerdFile(
                snapshotters={"devmapper": EngineFile(driver="devmapper")},
                disabled=frozenset({"devmapper"}),
            ),
        ),
        (
            'disabled_plugins = ["cri"]\n#root = "/x"\n',
            ContainerdFile(disabled=frozenset({"cri"})),
        ),
        (
            '[plugins."io.containerd.snapshotter.v1.overlayfs"]\nroot_path = "/fast"\n',
            ContainerdFile(
                snapshotters={"overlayfs": EngineFile(root="/fast", driver="overlayfs")}
            ),
        ),
    ],
    ids=["empty", "imports", "1", "2", "3", "disabled", "debian", "overlayfs"],
)
def test_reads_containerds_configuration(text: str, expected: ContainerdFile) -> None:
    """Of each of its versions."""
    assert parse_containerd(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EngineFile()),
        (
            (
                '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\n'
                'graphroot = "/var/lib/containers/storage"\n[storage.options]\n'
                'additionalimagestores = [\n]\n[storage.options.overlay]\nmountopt = "nodev"\n'
            ),
            EngineFile(root="/var/lib/containers/storage", driver="overlay"),
        ),
        ('[storage]\n  driver = ""\n  graphroot = ""\n', EngineFile()),
    ],
    ids=["empty", "fedora", "blank"],
)
def test_reads_podmans_configuration(text: str, expected: EngineFile) -> None:
    """As distributions ship it, and as it is left blank."""
    assert parse_storage_conf(text) == expected


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_containerd, "root = "),
        (parse_containerd, "root = 5"),
        (parse_containerd, "plugins = 5"),
        (parse_containerd, "[plugins]\ndevmapper = 5"),
        (parse_containerd, "[plugins.devmapper]\npool_name = 5"),
        (parse_containerd, "imports = 5"),
        (parse_containerd, "a = " + "[" * 100_000),
        (parse_storage_conf, "[storage"),
        (parse_storage_conf, "storage = 5"),
        (parse_storage_conf, "[storage]\ngraphroot = []"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else value.__name__,
)
def test_refuses_what_its_engine_would_refuse(
    parse: Callable[[str], object], text: str
) -> None:
    """One kind of error, whatever the fault."""
    with pytest.raises(ParseError):
        parse(text)


@given(st.text())
def test_any_text_gives_a_record_or_one_error(text: str) -> None:
    """None of the parsers knows another way to end."""
    for parse in (parse_containerd, parse_storage_conf):
        with contextlib.suppress(ParseError):
            assert parse(text) is not None
