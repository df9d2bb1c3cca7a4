"""Durations and sizes, read as Prometheus reads them and written for a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.units import (
    format_bytes,
    format_duration,
    parse_duration_seconds,
    parse_size_bytes,
    quoted,
)

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 0.5),
        ("30s", 30),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1y2w3d4h5m6s7ms", 33_019_506.007),
        ("90m", 5400),
        ("100y", 3_153_600_000),
    ],
)
def test_reads_durations(text: str, seconds: float) -> None:
    """Every unit of Prometheus, alone or largest first."""
    assert parse_duration_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "1.5h",
        "30s1h",
        "1s1s",
        "-1s",
        "+1s",
        "1 h",
        " 1s",
        "1S",
        "inf",
        "nan",
        "s",
        "٣s",
    ],
)
def test_refuses_what_is_no_duration(text: str) -> None:
    """The message repeats what was written, and shows how it should look."""
    with pytest.raises(ValueError, match=r'^".*" is not a duration such as 30s'):
        parse_duration_seconds(text)


def test_refuses_an_absurd_duration() -> None:
    """A number of years that nobody means."""
    with pytest.raises(ValueError, match='"999999999y" is more than 100 years'):
        parse_duration_seconds("999999999y")


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        (0, 0),
        (4096, 4096),
        ("0", 0),
        ("512", 512),
        ("8B", 8),
        ("1KB", 1024),
        ("1KiB", 1024),
        ("64MiB", 64 * 2**20),
        ("10GB", 10 * GIB),
        ("500GiB", 500 * GIB),
        ("1.5TB", 1536 * GIB),
        ("2PiB", 2**51),
        ("7EiB", 7 * 2**60),
    ],
)
def test_reads_sizes(written: str | int, size_bytes: int) -> None:
    """Powers of 1024, with and without the i; a bare number is bytes."""
    assert parse_size_bytes(written) == size_bytes


@pytest.mark.parametrize(
    "written",
    [
        "",
        "1.5",
        "-1",
        -1,
        "GiB",
        "1 GiB",
        "1gb",
        "1kB",
        "1e3",
        "5iB",
        "1GiB2",
        "nan",
        "1,5GB",
        "٣",
    ],
)
def test_refuses_what_is_no_size(written: str | int) -> None:
    """The message repeats what was written, and shows how it should look."""
    with pytest.raises(ValueError, match=r'^".*" is not a size such as 500GiB'):
        parse_size_bytes(written)


@pytest.mark.parametrize("written", ["8EiB", "99999999999999999999", "99999999999EB"])
def test_refuses_an_absurd_size(written: str) -> None:
    """More than a file, the kernel or Prometheus can count."""
    with pytest.raises(ValueError, match="is more than 8 EiB"):
        parse_size_bytes(written)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1024**2 - 1, "1.00 MiB"),
        (3 * GIB // 2, "1.50 GiB"),
        (-5 * 2**20, "-5.00 MiB"),
        (2**63, "8.00 EiB"),
        (2**74, "16384.00 EiB"),
    ],
)
def test_writes_sizes(size_bytes: int, text: str) -> None:
    """In the largest unit that leaves a digit before the point."""
    assert format_bytes(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "0s"),
        (-0.0001, "0s"),
        (0.25, "250ms"),
        (1.5, "1s 500ms"),
        (59.9996, "1m"),
        (65.4, "1m 5s"),
        (3599.9, "1h"),
        (3605, "1h"),
        (90_061, "1d 1h"),
        (-5, "-5s"),
    ],
)
def test_writes_durations(seconds: float, text: str) -> None:
    """In the two largest units."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a", '"a"'),
        ("a\n\x1b[1m", r'"a\n\u001b[1m"'),
        ("\x9bü", r'"\u009bü"'),
        ("x" * 99, '"' + "x" * 60 + '…"'),
    ],
)
def test_shows_a_value_safely(text: str, shown: str) -> None:
    """Short, and with nothing in it that a terminal obeys."""
    assert quoted(text) == shown


@given(st.integers(0, 2**63 - 1))
def test_reads_back_any_number_of_bytes(size_bytes: int) -> None:
    """With its unit and without."""
    assert parse_size_bytes(size_bytes) == parse_size_bytes(f"{size_bytes}B") == size_bytes


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No other exception, and nothing below zero."""
    for parse in (parse_duration_seconds, parse_size_bytes):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert "is not a" in str(error) or "is more than" in str(error)  # noqa: PT017 - both ways are right


@given(st.floats(0, 1e12))
def test_writes_any_duration_near_its_value(seconds: float) -> None:
    """Two units are within a tenth of the value."""
    written = format_duration(seconds).replace(" ", "")

    if seconds < 3e9:
        assert parse_duration_seconds(written) == pytest.approx(seconds, rel=0.1, abs=0.001)
