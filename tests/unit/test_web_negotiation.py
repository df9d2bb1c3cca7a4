"""Accept and Accept-Encoding: which format a scraper gets, and what its Content-Type says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder

from exporter.bulkhead import Bulkheads
from exporter.exposition import Families, Format, render, snapshot_collector
from exporter.web.negotiation import ESCAPINGS, choose_format, prefers_gzip
from tests.factories import make_snapshot
from tests.fakes import FakeLog

TEXT = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8; escaping="
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping="
# Recorded.
PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
    "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
# As scrape/scrape.go builds it; the first releases wrote `escaping` to all four.
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,"
    "*/*;q=0.2"
)
PROMETHEUS_3_0 = PROMETHEUS_3.replace("=0.0.1", "=0.0.1;escaping=allow-utf-8").replace(
    "=0.0.4", "=0.0.4;escaping=allow-utf-8"
)
PROMETHEUS_3_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    f"encoding=delimited;q=0.7,{PROMETHEUS_3}"
)
PROMETHEUS_3_TEXT_ONLY = "text/plain;version=1.0.0;escaping=underscores;q=0.6,*/*;q=0.5"
PROMETHEUS_2_30 = (
    "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        (PROMETHEUS_2_30, TEXT),
        (PROMETHEUS_2_42, OPENMETRICS + "underscores"),
        (PROMETHEUS_3, OPENMETRICS + "allow-utf-8"),
        (PROMETHEUS_3_0, OPENMETRICS + "allow-utf-8"),
        (PROMETHEUS_3_PROTOBUF, OPENMETRICS + "allow-utf-8"),
        (PROMETHEUS_3_TEXT_ONLY, TEXT_1 + "underscores"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        # Versions.
        ("text/plain", TEXT),
        ("text/plain; version=1.0.0", TEXT_1 + "underscores"),
        ('Text/Plain; Version="1.0.0"', TEXT_1 + "underscores"),
        ("application/openmetrics-text", OPENMETRICS + "underscores"),
        ("application/openmetrics-text; version=2.0.0", TEXT),
        ("application/openmetrics-text; version=2.0.0, */*;q=0.1", TEXT),
        # The highest quality wins; 0 forbids.
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text; q=0.000, */*", TEXT),
        ("application/openmetrics-text;q=0.4, text/plain;q=0.5", TEXT),
        ("text/plain;q=0.4, application/openmetrics-text;q=0.5", OPENMETRICS + "underscores"),
        ("text/plain;q=0, */*", OPENMETRICS + "underscores"),
        ("text/*;q=0.5, application/*", OPENMETRICS + "underscores"),
        ("text/plain;version=0.0.4;q=0, text/plain", TEXT_1 + "underscores"),
        ("*/*;q=0", TEXT),
        # Alike: the more precise one, then the first one.
        ("*/*, application/openmetrics-text", OPENMETRICS + "underscores"),
        ("text/plain, application/openmetrics-text", TEXT),
        ("application/openmetrics-text, text/plain", OPENMETRICS + "underscores"),
        # Escaping.
        *(
            (f"{name};version=1.0.0;escaping={scheme}", start + scheme)
            for name, start in (
                ("text/plain", TEXT_1),
                ("application/openmetrics-text", OPENMETRICS),
            )
            for scheme in ESCAPINGS
        ),
        ("text/plain; version=0.0.4; escaping=values", TEXT),
        ("application/openmetrics-text; escaping=dots", OPENMETRICS + "underscores"),
        ("application/openmetrics-text; escaping=x\r\ny", OPENMETRICS + "underscores"),
        # What cannot be read.
        ("application/openmetrics-text; version=x", TEXT),
        ("application/openmetrics-text; q=x", TEXT),
        ("application/openmetrics-text; q=nan", TEXT),
        ("application/openmetrics-text; q=2", TEXT),
        ("text/plain; version=1.x.é", TEXT),
        (",;=,;;q", TEXT),
    ],
)
def test_chooses_a_format(accept: str, content_type: str) -> None:
    """By quality, then precision, then order; nonsense gives plain text."""
    format_, found = choose_format(accept)

    assert found == content_type
    assert (format_ is Format.OPENMETRICS) == content_type.startswith("application/openm")


@given(st.text(alphabet='*/;,= "q.015txplain', max_size=60) | st.text())
def test_any_header_gets_a_content_type_of_ours(header: str) -> None:
    """None of it is repeated in the answer."""
    kinds = {TEXT, *(start + scheme for start in (TEXT_1, OPENMETRICS) for scheme in ESCAPINGS)}

    assert choose_format(header)[1] in kinds
    assert prefers_gzip(header) in {True, False}


@pytest.mark.parametrize("escaping", ESCAPINGS)
def test_names_are_the_same_by_each_scheme(escaping: str) -> None:
    """So that one rendering serves all of them, as it is by Prometheus' own rules.

    In text alone: for OpenMetrics, prometheus_client 0.26 escapes names that need it not.
    """
    bulkheads = Bulkheads(FakeLog(), lambda: 0.0)
    families = list(snapshot_collector(make_snapshot, bulkheads, clock=lambda: 0.0).collect())
    encode, content_type = choose_encoder(f"text/plain;version=1.0.0;escaping={escaping}")

    assert content_type.endswith(f"escaping={escaping}")
    assert encode(Families(families)) == render(families)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP ;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=x", False),
        ("br", False),
        ("gzip;level=0", True),
        ("*", True),
        ("*, gzip;q=0", False),
        ("*;q=0", False),
        ("identity", False),
        ("gzip;q=0.5, identity", False),
        ("gzip, identity;q=0.5", True),
    ],
)
def test_knows_whether_gzip_is_preferred(accept_encoding: str, *, expected: bool) -> None:
    """Quality 0 forbids it, and no compression may be liked better."""
    assert prefers_gzip(accept_encoding) is expected
