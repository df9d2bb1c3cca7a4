"""What a call answers that has gone mad: every value has the right type and no sense.

None of it is a lie that could be true: figures that agree with nothing else, another
device's answer, half of a text, nothing at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import structs

from exporter.command import Output, Running
from exporter.devmapper import DmDevice, DmStatus
from exporter.model import Dmeventd, LoopBacking, Problem, StorageReading, VolumeOwner

# By the kind of answer, every way in which it can be garbage.
STATUS = (
    "gone",
    "blank",
    "words",
    "cut",
    "no-uuid",
    "another",
    "no-total",
    "huge",
)
DEVICE = ("gone", "no-table", "words", "no-kind", "thin")
DEVICES = ("none", "words", "twice")
NAMES = ("none", "half", "numbers")
# Text that can be read as nothing at all is UNREADABLE; LVM may also say, without a word of
# sense, that it has nothing: EMPTY.
UNREADABLE = ("blank", "half", "words", "null", "list", "bytes", "huge")
EMPTY = ("nothing", "no-section")
BLANK_CHUNK = "blank-chunk:"  # with the name of the VG whose pools have no size of a chunk
RUNNING = ("refused", "ineffective", "killed", "much")
DMEVENTD = ("unknown", "alive", "zombie")
NUMBER = ("nan", "negative", "zero", "infinite")

WORDS = "\x00 \ufffd 12/ -/- needs_check 99999999999999999999 Fail"
MANY_CHARACTERS = 100_000
HUGE = 2**80


def status(real: DmStatus | None, how: str, another: DmStatus | None) -> DmStatus | None:
    """Garble the status of one device."""
    if real is None or how == "gone":
        return None
    if how == "another":
        return another
    if how == "no-uuid":
        return structs.replace(real, uuid="")
    texts = {
        "blank": "",
        "words": WORDS,
        "cut": " ".join(real.text.split()[:2]),
        "no-total": re.sub(r"/\d+", "/0", real.text),
        "huge": re.sub(r"/\d+", f"/{HUGE}", real.text),
    }
    return structs.replace(real, text=texts[how])


def device(real: DmDevice | None, how: str) -> DmDevice | None:
    """Garble one device."""
    if real is None or how == "gone":
        return None
    changes: dict[str, dict[str, str | None]] = {
        "no-table": {"table": ""},
        "words": {"table": WORDS, "status": WORDS},
        "no-kind": {"kind": "", "table": "", "status": None},
        "thin": {"kind": "thin"},
    }
    return structs.replace(real, **changes[how])


def devices(real: tuple[DmDevice, ...], how: str) -> tuple[DmDevice, ...]:
    """Garble the list of the devices that matter."""
    if how == "none":
        return ()
    if how == "twice":
        return (*real, *real)
    return tuple(structs.replace(each, table=WORDS, status=WORDS) for each in real)


def names(real: Mapping[str, str], how: str) -> Mapping[str, str]:
    """Garble the list of all devices."""
    if how == "none":
        return {}
    if how == "half":
        return {name: real[name] for name in sorted(real)[::2]}
    return dict.fromkeys(real, "0:0")


def text(how: str, real: str = "") -> str:
    """Make a text that tells nothing, or too little."""
    if how.startswith(BLANK_CHUNK):
        return _without_chunks(real, how.removeprefix(BLANK_CHUNK))
    texts = {
        "blank": "",
        "half": real[: len(real) // 2],
        "words": WORDS,
        "null": "null",
        "list": '[{"report": 1}]',
        "bytes": "\udcff\udcfe{",
        "huge": '{"report": [{"lv": ' + "[" * MANY_CHARACTERS,
        "nothing": '{"report": []}',
        "no-section": '{"report": [{}]}',
    }
    return texts[how]


def _without_chunks(real: str, vg: str) -> str:
    document = json.loads(real)
    for section in document["report"]:
        for row in section.get("seg", section.get("lv", ())):
            if row.get("vg_name") == vg and "chunk_size" in row:
                row["chunk_size"] = ""
    return json.dumps(document)


def output(real: Output, how: str) -> Output:
    """Garble what a command printed."""
    return structs.replace(real, stdout=text(how, real.stdout))


class Ended:
    """A command that has ended by itself, and done nothing."""

    def __init__(self, result: Output) -> None:
        self._result = result

    def wait(self, timeout_seconds: float) -> Output | None:
        """See Running.wait."""
        del timeout_seconds
        return self._result


class Garbled:
    """A command that does its work, and ends oddly."""

    def __init__(self, running: Running, garble: Callable[[Output], Output]) -> None:
        self._running = running
        self._garble = garble

    def wait(self, timeout_seconds: float) -> Output | None:
        """See Running.wait."""
        real = self._running.wait(timeout_seconds)
        return self._garble(real) if real else None


def running(begin: Callable[[], Running], argv: Sequence[str], how: str) -> Running:
    """Start an lvextend that is refused, does nothing, is killed, or prints much."""
    if how in {"refused", "ineffective"}:
        status = 5 if how == "refused" else 0
        return Ended(Output(argv=tuple(argv), status=status, stdout=WORDS, stderr=WORDS))
    if how == "killed":
        return Garbled(begin(), lambda real: structs.replace(real, status=-9, stdout=""))
    return Garbled(begin(), lambda real: structs.replace(real, stderr="x" * MANY_CHARACTERS))


def dmeventd(_real: Dmeventd, how: str) -> Dmeventd:
    """Garble the look at dmeventd's process."""
    found = {
        "unknown": Dmeventd(is_alive=None),
        "alive": Dmeventd(is_alive=True),
        "zombie": Dmeventd(is_alive=True, pid=-1, state="Z"),
    }
    return found[how]


def activity(_real: Mapping[str, object], _how: str) -> Mapping[str, object]:
    """Garble what dmeventd is doing."""
    return {"": WORDS, "state": None}


def number(_real: float, how: str) -> float:
    """Garble a number."""
    values = {"nan": float("nan"), "negative": -1.0, "zero": 0.0, "infinite": float("inf")}
    return values[how]


def volume_owners(_real: Mapping[str, VolumeOwner], _how: str) -> Mapping[str, VolumeOwner]:
    """Name owners of devices that there are not."""
    return {WORDS: VolumeOwner(container=WORDS, image="")}


def storage(_real: StorageReading, _how: str) -> StorageReading:
    """Know nothing of the mounts but a problem."""
    return StorageReading(problems=(Problem(subject=WORDS, message=WORDS),))


def nothing(_real: LoopBacking | None, _how: str) -> LoopBacking | None:
    """Find nothing."""
    return None


def flag(real: bool, _how: str) -> bool:  # noqa: FBT001 - as board.apply calls it
    """Tell the contrary."""
    return not real
