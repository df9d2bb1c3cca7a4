"""What is changed in one place changes nothing elsewhere: no figure comes from a neighbour.

A word of a real recording is exchanged or the end is cut off. Then the record differs in what
that word tells and in nothing else, or it is refused.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.devmapper import IoctlKernel
from exporter.errors import HostError, KernelError
from exporter.model import Policy
from exporter.sources import docker, lvm, policy
from exporter.sources.device_mapper import parse_pool_status
from exporter.sources.lvm_report import parse_report
from tests.fake_ioctl import HEADER, POOL, THIN, FakeIoctl, plain_node
from tests.recordings.replay import HERE, Recording

STATE = Recording(HERE / "bookworm" / "article_docker")
STATUS = "4 217/2048 279/1936 1790 rw discard_passdown queue_if_no_space needs_check 512"
# By each word's place: what it tells.
TOLD_BY = (
    {"transaction_id"},
    {"metadata"},
    {"data"},
    {"held_root_block"},
    {"mode"},
    {"discard"},
    # Without this one it is not known which word after it is the next.
    {"queue_if_no_space", "needs_check"},
    {"needs_check"},
    set[str](),
)
DOCKER = (HERE / "docker_info" / "20.10-direct-near-threshold.txt").read_text().splitlines()
DEVICES = {"before": POOL, "spoiled": POOL, "after": THIN}
WORDS = st.sampled_from(
    [
        "",
        "-",
        "0",
        "1/2",
        "3/0",
        "-5/7",
        "9" * 30,
        "Fail",
        "rw",
        "ro",
        "needs_check",
        "x",
        "1_0",
    ]
) | st.text(st.characters(exclude_categories=["Z", "C"]), max_size=6)
some = settings(max_examples=150)
Record = dict[str, Any]


def attempt(parse: Callable[[str], object], text: str) -> Record | None:
    """Parse into plain values; None for a refusal."""
    try:
        return dict(msgspec.to_builtins(parse(text)))
    except HostError:
        return None


def status(text: str) -> object:
    """Read a pool's status."""
    return parse_pool_status(text, chunk_bytes=65536)


def differing(one: Record, other: Record) -> set[str]:
    """Name the fields in which two records differ."""
    return {field for field in one if one[field] != other[field]}


@some
@given(place=st.integers(0, len(TOLD_BY) - 1), word=WORDS)
def test_a_word_of_the_kernels_status(place: int, word: str) -> None:
    """Counts, modes and flags are told each by its own word."""
    words = STATUS.split()
    words[place] = word or "?"
    whole, changed = attempt(status, STATUS), attempt(status, " ".join(words))
    assert whole is not None

    assert changed is None or differing(whole, changed) <= TOLD_BY[place]


@some
@given(length=st.integers(0, len(STATUS)))
def test_a_status_cut_short(length: int) -> None:
    """What is left is told, and the rest is not known; a number alone has shorter forms."""
    whole, cut = attempt(status, STATUS), attempt(status, STATUS[:length])
    assert whole is not None
    if cut is None:
        return
    for field in differing(whole, cut) - {"held_root_block"}:
        assert cut[field] in {None, "unknown"}, field


def report(row: dict[str, str]) -> Record | None:
    """Read one row of lvs; None where it is refused."""
    text = json.dumps({"report": [{"lv": [row]}]})
    rows, problems = parse_report(text, lvm.LV_FIELDS, source="lvs")
    assert len(rows) + len(problems) == 1
    return dict(rows[0]) if rows else None


@some
@given(field=st.sampled_from(sorted(lvm.LV_FIELDS)), word=WORDS)
def test_a_field_of_a_report(field: str, word: str) -> None:
    """Each is told by its own name alone."""
    row = STATE.rows("lvs")[0]
    whole, changed = report(row), report(row | {field: word})
    assert whole is not None

    assert changed is None or differing(whole, changed) <= {field}


@some
@given(number=st.integers(0, len(DOCKER) - 1), word=WORDS)
def test_a_line_of_docker_info(number: int, word: str) -> None:
    """Each line tells one thing, but for the driver's, below which its own lines stand."""
    line = DOCKER[number]
    key, colon, _ = line.partition(":")
    lines = [*DOCKER[:number], f"{key}{colon} {word}", *DOCKER[number + 1 :]]
    whole = attempt(docker.parse_info_text, "\n".join(DOCKER))
    changed = attempt(docker.parse_info_text, "\n".join(lines))
    assert whole is not None

    if changed is None or key.strip() == "Data Space Total":  # without a size no figure counts
        return
    differences = differing(whole, changed)
    if key.strip() == "Metadata Space Total":
        differences -= {field for field in differences if changed[field] is None}
    assert len(differences) <= 1 or not word.strip()


@some
@given(place=st.integers(0, 2), word=WORDS)
def test_a_setting_of_lvmconfig(place: int, word: str) -> None:
    """Each is told by its own line."""

    def told(text: str) -> Policy:
        return policy.parse_lvmconfig(text).policy

    lines = STATE.output("lvmconfig").splitlines()
    key = lines[place].partition("=")[0]
    lines[place] = f"{key}={word}"
    whole = attempt(told, STATE.output("lvmconfig"))
    changed = attempt(told, "\n".join(lines))
    assert whole is not None

    assert changed is None or len(differing(whole, changed)) <= 1


class Spoiled(FakeIoctl):
    """Puts these bytes into each answer about one device."""

    def __init__(self, place: int, raw: bytes) -> None:
        super().__init__(**DEVICES)
        self._place, self._raw = place, raw

    def __call__(self, descriptor: int, request: int, buffer: bytearray) -> int:
        """Answer as the kernel does, or not quite."""
        is_about_one = HEADER.unpack_from(buffer)[11].startswith(b"spoiled\0")
        super().__call__(descriptor, request, buffer)
        if is_about_one:
            buffer[self._place : self._place + len(self._raw)] = self._raw
        return 0


@some
@given(place=st.integers(0, 420), raw=st.binary(min_size=1, max_size=40))
def test_bytes_of_one_devices_answer(place: int, raw: bytes) -> None:
    """Every other device is what it was, whatever the kernel says of this one."""
    with tempfile.TemporaryDirectory() as directory:
        plain_node(Path(directory))
        sound = IoctlKernel(directory, ioctl=FakeIoctl(**DEVICES))
        spoiled = IoctlKernel(directory, ioctl=Spoiled(place, raw))

        wanted = {device.name: device for device in sound.devices()}
        found = {device.name: device for device in spoiled.devices()}
        with suppress(KernelError):
            spoiled.status("spoiled")

        for name in ("before", "after"):
            assert found[name] == wanted[name]
            assert spoiled.status(name) == sound.status(name)
