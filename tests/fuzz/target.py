"""What is fuzzed: a parser, the errors that it names, and what a record must be.

Any bytes in give a record or one of the named errors. A record is fit for the Snapshot
file, and every number in it stands in the input, times a unit of the format.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

import msgspec
from msgspec import Struct

from exporter.errors import HostError

MAX_MESSAGE = 8000  # an error is for a log line
MAX_NUMBER = 2**64 - 1  # what every JSON reader takes
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
# What stands for a thing that has no number: no blocks, one stripe.
DEFAULTS = frozenset({0, 1})


class Target(Struct, frozen=True, kw_only=True):
    """One parser; `units` is None where numbers of the record are not those of the input.

    `has_limits`: no number of the record is larger than the Snapshot file's readers take.
    """

    parse: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]
    errors: tuple[type[Exception], ...] = (HostError,)
    units: frozenset[int] | None = frozenset({1})
    is_json: bool = False
    has_limits: bool = True

    def check(self, raw: bytes) -> None:
        """Parse, and hold the result against what it must be."""
        try:
            record = self.parse(raw)
        except self.errors as error:
            message = str(error)
            assert len(message) <= MAX_MESSAGE, f"{len(message)} characters: {message[:200]}"
            message.encode()
            return
        _check_fit(record)
        if self.has_limits:
            _check_limits(record)
        if self.units is not None:
            _check_numbers(record, raw, self.units)


def text(raw: bytes) -> str:
    """Decode as exporter.command does."""
    return raw.decode("utf-8", "backslashreplace")


def _check_fit(record: object) -> None:
    """Hold the record against the Snapshot file, which holds no NaN and no half a sign."""
    encoded = msgspec.json.encode(record)
    assert msgspec.json.encode(msgspec.json.decode(encoded)) == encoded


def _check_limits(record: object) -> None:
    for number in numbers(record):
        assert math.isfinite(number), number
        assert isinstance(number, float) or -MAX_NUMBER <= number <= MAX_NUMBER, number


def _check_numbers(record: object, raw: bytes, units: frozenset[int]) -> None:
    written = NUMBER.findall(_plain(raw))
    known: set[int | float] = {int(Decimal(word) * unit) for word in written for unit in units}
    known |= {float(word) for word in written} | DEFAULTS | units
    for number in numbers(record):
        assert number in known, f"{number} stands nowhere"


def _plain(raw: bytes) -> str:
    """Take the texts out of JSON, in which a digit may be written as an escape."""
    try:
        return "\n".join(map(str, _leaves(json.loads(raw))))
    except (ValueError, RecursionError):
        return text(raw)


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def numbers(record: object) -> Iterator[int | float]:
    """Find every number of a record, at any depth; truth values are none."""
    for leaf in _leaves(msgspec.to_builtins(record, str_keys=True)):
        if isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
            yield leaf
