"""The parsers of what the host's programs and files say."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from exporter.command import Output
from exporter.devmapper import DmDevice, DmStatus
from exporter.model import SECTOR_BYTES, LoopBacking, LvmLayout
from exporter.sources import (
    archive,
    device_mapper,
    dmeventd,
    docker,
    loop,
    lvm,
    lvm_report,
    policy,
)
from exporter.sources import system_id as ids
from exporter.sources.lvm_dialect import Dialect
from exporter.sources.lvm_output import HINTS
from tests.fuzz.target import Target, text
from tests.recordings.replay import HERE, NotRecordedError, Recording, recordings

SEPARATOR = b"\0"  # between the outputs of several commands; no program prints it
CHUNK_BYTES = 65536
# As LVM 2.02.98: no JSON, no --binary, and letters for what has no field.
OLD = Dialect(
    has_json=False, has_binary=False, has_selection=False, unknown_settings=frozenset({HINTS})
)
ATTRIBUTES = {"lv_attr": "twi-aotz--", "vg_attr": "wz--n-", "pv_attr": "a--"}
MAX_PROBLEM = 1000
BLOCKS = frozenset({1, SECTOR_BYTES, 4096, CHUNK_BYTES})
DOCKER_UNITS = frozenset(docker.MULTIPLIERS.values())


def of_text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """Make a parser of what a command has printed from one of text."""
    return lambda raw: parse(text(raw))


def recorded(*names: str) -> Callable[[], Iterable[bytes]]:
    """Find what these commands have printed on real hosts, each text once."""

    def seeds() -> Iterator[bytes]:
        yield from sorted(
            {
                SEPARATOR.join(state.output(name).encode() for name in names)
                for state in recordings()
            }
        )

    return seeds


def words_of(kind: str, *names: str) -> Callable[[], Iterable[bytes]]:
    """Find the parameters of targets of one kind, as dmsetup prints them."""

    def seeds() -> Iterator[bytes]:
        for raw in recorded(*names)():
            for line in raw.decode().splitlines():
                _, found, parameters = line.partition(f" {kind} ")
                if found:
                    yield parameters.encode()

    return seeds


def files(pattern: str) -> Callable[[], Iterable[bytes]]:
    """Take files of tests/recordings, but not the records beside them."""
    found = [file for file in sorted(HERE.glob(pattern)) if ".expected" not in file.name]
    return lambda: [file.read_bytes() for file in found]


def given(*texts: str) -> Callable[[], Iterable[bytes]]:
    """Take texts that are written here."""
    return lambda: [text.encode() for text in texts]


@cache
def scratch() -> Path:
    """Make a directory for parsers of files, one for the process."""
    return Path(tempfile.mkdtemp(prefix="thinpool-fuzz-"))


def written(raw: bytes, name: str = "file") -> Path:
    """Put the input into a file."""
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


class Printed(Recording):
    """A host whose commands print the input, part by part."""

    def __init__(self, outputs: Mapping[str, str]) -> None:
        self._outputs = outputs

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        del deadline_seconds
        try:
            stdout = self._outputs[argv[1]]
        except KeyError:
            raise NotRecordedError(argv) from None
        return Output(argv=tuple(argv), status=0, stdout=stdout, stderr="")


def printed(raw: bytes, *names: str) -> Printed:
    """Give each command its part of the input."""
    parts = [*raw.split(SEPARATOR, len(names) - 1), *([b""] * len(names))]
    return Printed({name: text(part) for name, part in zip(names, parts, strict=False)})


def report(fields: Mapping[str, Callable[[str], object]]) -> Callable[[bytes], object]:
    """Read the rows of one report. Problems are told in words, not figures."""

    def parse(raw: bytes) -> object:
        rows, problems = lvm_report.parse_report(text(raw), fields, source="lvs")
        assert all(len(problem.message) < MAX_PROBLEM for problem in problems)
        return rows

    return parse


def named(report: lvm.Report) -> Callable[[bytes], object]:
    """Read the rows of one report of an LVM without JSON and --binary."""

    def parse(raw: bytes) -> object:
        rows, problems = lvm.parse_rows(text(raw), report, OLD)
        assert all(len(problem.message) < MAX_PROBLEM for problem in problems)
        return rows

    return parse


def named_rows(command: str, report: lvm.Report) -> Callable[[], Iterable[bytes]]:
    """Print what real hosts have told as such an LVM would."""

    def seeds() -> Iterator[bytes]:
        for state in recordings():
            for row in state.rows(command)[:3]:
                told = row | ATTRIBUTES
                # Blank is what is asked for since the recording.
                yield " ".join(
                    f"LVM2_{name.upper()}='{told.get(name, '')}'" for name in report.asked(OLD)
                ).encode()

    return seeds


def version(text: str) -> object:
    """Read LVM's version, whose parts stand between points."""
    found = policy.parse_version(text)
    written = {int(word) for word in re.findall("[0-9]{1,9}", text)}
    assert set(found or ()) <= written
    return found


def layout(raw: bytes) -> LvmLayout:
    """Join three reports; nothing else is asked."""
    reports = printed(raw, "lvs", "vgs", "pvs", "systemid", "lvmconfig")
    return lvm.read_layout(reports.ask, "lvm")


def device(kind: str, table: str, status: str | None = None) -> DmDevice:
    """Describe a device by the words of its target."""
    return DmDevice(
        name="docker-thinpool",
        uuid="LVM-abc-tpool",
        number="253:0",
        is_suspended=False,
        event_number=0,
        kind=kind,
        length_sectors=0,
        table=table,
        status=status,
    )


class OneDevice:
    """A kernel with one device."""

    def __init__(self, found: DmDevice) -> None:
        self._found = found

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        return (self._found,)


def tables(raw: bytes) -> object:
    """Read a pool by table and status, and a thin volume by the same table."""
    table, _, status = text(raw).partition("\n")
    pool = OneDevice(device("thin-pool", table, status))
    thin = OneDevice(device("thin", table))
    return [device_mapper.read(kernel, loop_of) for kernel in (pool, thin)]


def loop_of(number: str) -> LoopBacking | None:
    """Look for a loop device where there is none."""
    return loop.LoopFiles(sys_directory=scratch()).read(number)


def pool_status(raw: bytes) -> object:
    """Read a status alone."""
    seen = DmStatus("", "253:0", is_suspended=False, event_number=0, text=text(raw))
    return device_mapper.pool_status(seen, CHUNK_BYTES)


def loop_backing(raw: bytes) -> object:
    """Read the name of the file under loop device 7:0; its free space is the host's."""
    written(raw, "dev/block/7:0/loop/backing_file")
    found = loop.LoopFiles(lambda file: file, sys_directory=scratch()).read("7:0")
    return [[file.device, file.file] for file in found.files] if found else None


TARGETS = {
    "docker_json": Target(
        parse=of_text(docker.parse_info_json),
        seeds=files("docker_info/[0-9]*.json"),
        is_json=True,
        units=DOCKER_UNITS,
    ),
    "docker_text": Target(
        parse=of_text(docker.parse_info_text),
        seeds=files("docker_info/*.txt"),
        units=DOCKER_UNITS,
    ),
    "lvs": Target(parse=report(lvm.LV_FIELDS), seeds=recorded("lvs"), is_json=True),
    "vgs": Target(parse=report(lvm.VG_FIELDS), seeds=recorded("vgs"), is_json=True),
    "pvs": Target(parse=report(lvm.PV_FIELDS), seeds=recorded("pvs"), is_json=True),
    "seg_monitor": Target(
        parse=report(lvm.MONITOR_FIELDS), seeds=recorded("monitoring"), is_json=True
    ),
    "layout": Target(
        parse=layout, seeds=recorded("lvs", "vgs", "pvs"), units=None, is_json=True
    ),
    "lvs_named": Target(
        parse=named(lvm.LVS), seeds=named_rows("lvs", lvm.LVS), units=frozenset({1, 2})
    ),
    "vgs_named": Target(parse=named(lvm.VGS), seeds=named_rows("vgs", lvm.VGS)),
    "pvs_named": Target(parse=named(lvm.PVS), seeds=named_rows("pvs", lvm.PVS)),
    "lvm_fields": Target(
        parse=of_text(lambda text: sorted(lvm_report.names_in_help(text))),
        seeds=given("  Volume Group Fields\n    vg_name     - Name. [string]\n"),
    ),
    "dumpconfig": Target(
        parse=of_text(lambda text: policy.make_policy(policy.parse_dump(text))),
        seeds=given(
            "activation {\n\tthin_pool_autoextend_threshold=80\n\tvolume_list=['b']\n}\n",
            "activation/thin_pool_autoextend_percent = 20 # more\n",
        ),
        units=None,
    ),
    "archive_set": Target(
        parse=of_text(lambda text: str(archive.parse_archive_set(text))),
        seeds=given('backup {\n\tarchive=1\n\tarchive_dir="/etc/lvm/archive"\n}\n'),
    ),
    "lvmconfig": Target(
        parse=of_text(policy.parse_lvmconfig),
        seeds=recorded("lvmconfig"),
        units=frozenset({1, -1}),
    ),
    "lvm_version": Target(parse=of_text(version), seeds=recorded("version"), units=None),
    "system_id": Target(
        parse=of_text(ids.parse_system_id),
        seeds=given("  system ID: host\n", "  system ID: \n"),
    ),
    "extra_system_ids": Target(
        parse=of_text(lambda text: sorted(ids.parse_extra(text))),
        seeds=given('extra_system_ids=["one","two"]\n', "extra_system_ids=[]\n"),
    ),
    "archive": Target(
        parse=of_text(lambda text: str(archive.parse_archive(text))),
        seeds=given('archive=1\narchive_dir="/etc/lvm/archive"\n'),
    ),
    "pool_status": Target(
        parse=pool_status, seeds=words_of("thin-pool", "dmsetup_status"), units=BLOCKS
    ),
    "dm_tables": Target(parse=tables, seeds=words_of("thin-pool", "dmsetup_table"), units=None),
    "dmeventd_pid": Target(
        parse=lambda raw: dmeventd.read(pid_files=[written(raw, "pid")], processes=list),
        seeds=given("1\n", "4194304\n"),
    ),
    "loop_backing": Target(
        parse=loop_backing, seeds=given("/var/lib/docker/devicemapper/devicemapper/data\n")
    ),
    "no_space_timeout": Target(
        parse=lambda raw: device_mapper.no_space_timeout(written(raw, "timeout")),
        seeds=given("60\n", "0\n"),
        units=None,
    ),
}
