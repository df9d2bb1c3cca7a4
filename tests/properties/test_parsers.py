"""Any bytes into any parser: a record that the input bears out, or a named error, in time."""

from __future__ import annotations

import time
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import TEXTS, mutate_json
from tests.fuzz.targets import TARGETS

EXAMPLES = 12  # of each kind, for each parser; make fuzz does the rest
MAX_SEED_BYTES = 3000
STRETCHED_BYTES = 60_000
# Time of quadratic growth would be minutes for this, of linear growth well below a second.
LONGEST_SECONDS = 8.0
# YAML is read in Python, which takes a hundred times as long as anything else here.
STRETCHED_YAML_BYTES = 10_000
YAML = ("settings", "web_settings")
PIECES = (*b"\n \t09/:=\"\\'[{(,-\0#%&", b"=> /", b"- ", b"? ", b'{"":', b"{a: ", b"a: b\n")

some = settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow],
    database=None,
)
every_parser = pytest.mark.parametrize("name", TARGETS)
every_json_parser = pytest.mark.parametrize(
    "name", [name for name, target in TARGETS.items() if target.is_json]
)


@cache
def seeds(name: str) -> list[bytes]:
    """Find what a parser reads on real hosts, the shorter half of it."""
    found = sorted(TARGETS[name].seeds(), key=len)
    return [seed for seed in found if len(seed) <= MAX_SEED_BYTES] or found[:1]


def cut(raw: bytes, data: st.DataObject) -> tuple[bytes, bytes]:
    """Cut in two, anywhere."""
    place = data.draw(st.integers(0, len(raw)))
    return raw[:place], raw[place:]


def mangled(raw: bytes, data: st.DataObject) -> bytes:
    """Put something else in the place of a few bytes."""
    before, after = cut(raw, data)
    odd = st.sampled_from([text.encode("utf-8", "replace") for text in TEXTS])
    put_in = data.draw(odd | st.binary(max_size=12))
    return before + put_in + after[data.draw(st.integers(0, 12)) :]


@every_parser
@some
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_takes_any_bytes(name: str, raw: bytes) -> None:
    """Of nothing that it knows."""
    TARGETS[name].check(raw)


@every_parser
@some
@given(data=st.data())
def test_takes_what_was_changed(name: str, data: st.DataObject) -> None:
    """In one place or in several, as a bug of the other program would."""
    raw = data.draw(st.sampled_from(seeds(name)))
    for _ in range(data.draw(st.integers(1, 3))):
        raw = mangled(raw, data)

    TARGETS[name].check(raw)


@every_parser
@some
@given(data=st.data())
def test_takes_what_was_cut_short(name: str, data: st.DataObject) -> None:
    """As a full disk or a killed program leaves it."""
    TARGETS[name].check(cut(data.draw(st.sampled_from(seeds(name))), data)[0])


@every_json_parser
@some
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_takes_json_of_another_form(name: str, data: st.DataObject, seed: int) -> None:
    """With values of another kind, without some, with some twice."""
    raw = data.draw(st.sampled_from(seeds(name)))

    changed = mutate_json(raw, 2 * len(raw) + 10_000, seed, lambda text, _: mangled(text, data))

    TARGETS[name].check(changed)


@every_parser
def test_takes_no_longer_than_its_input_is_long(name: str) -> None:
    """Whatever is repeated in it, at its end or within it."""
    raw = min(seeds(name), key=len)
    length = STRETCHED_YAML_BYTES if name in YAML else STRETCHED_BYTES
    for piece in PIECES:
        repeated = bytes([piece]) if isinstance(piece, int) else piece
        many = repeated * (length // len(repeated))
        began = time.process_time()

        for stretched in (many, raw + many, raw[: len(raw) // 2] + many + raw[len(raw) // 2 :]):
            TARGETS[name].check(stretched)

        assert time.process_time() - began < LONGEST_SECONDS, piece
