"""What a scraper accepts in; the format and the compression that it gets out.

Pure. Sources: RFC 9110, 12.4.2 and 12.5; Prometheus' documentation, "Scrape protocol content
negotiation". What cannot be read, or matches nothing, gets the text format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from exporter.exposition import Format

# Our names are the same by each of these. `dots` would double their underscores, which no rule
# or dashboard expects: a client that asks for it gets `underscores`, and the answer says so.
ESCAPINGS = ("allow-utf-8", "underscores", "values")
DEFAULT_ESCAPING = "underscores"


class Offer(NamedTuple):
    """A content type that we can answer with."""

    format: Format
    media_type: str
    version: str

    def content_type(self, escaping: str) -> str:
        """Return the header; formats before 1.0.0 know no escaping."""
        suffix = f"; escaping={escaping}" if self.version == "1.0.0" else ""
        return f"{self.media_type}; version={self.version}; charset=utf-8{suffix}"


# The first one wins where a client has no preference.
OFFERS = (
    Offer(Format.TEXT, "text/plain", "0.0.4"),
    Offer(Format.TEXT, "text/plain", "1.0.0"),
    Offer(Format.OPENMETRICS, "application/openmetrics-text", "1.0.0"),
)


class Choice(NamedTuple):
    """One item of an Accept or Accept-Encoding header; the name is in lower case."""

    name: str
    parameters: Mapping[str, str]
    quality: float  # 0 to 1; 0 forbids it


def parse_choices(header: str) -> Iterator[Choice]:
    """Read the items of a header; passes over those without a valid quality.

    Shape: `text/plain;version=0.0.4;q=0.5, */*;q=0.1`, or `gzip;q=0.5, identity`.
    """
    for item in header.lower().split(","):
        name, *pairs = (word.strip() for word in item.split(";"))
        split = (pair.partition("=") for pair in pairs)
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in split}
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            continue
        if name and 0 <= quality <= 1:
            yield Choice(name, parameters, quality)


class Rank(NamedTuple):
    """How welcome an offer is to a client; compares by its fields in this order."""

    quality: float
    precision: int
    position: int  # in the header, from the end of it


def choose_format(accept: str) -> tuple[Format, str]:
    """Choose the format with the highest quality, and say its Content-Type.

    Of those that the client accepts alike, the one that it names most precisely wins, then the
    one that it names first.
    """
    choices = list(parse_choices(accept))[::-1]
    ranks = [_rank(choices, offer) for offer in OFFERS]
    best = max(ranks)
    if not best.quality:
        return OFFERS[0].format, OFFERS[0].content_type(DEFAULT_ESCAPING)
    offer = OFFERS[ranks.index(best)]
    escaping = choices[best.position].parameters.get("escaping")
    return offer.format, offer.content_type(
        escaping if escaping in ESCAPINGS else DEFAULT_ESCAPING
    )


def _rank(choices: Sequence[Choice], offer: Offer) -> Rank:
    """Rank by the item that names an offer most precisely: `text/plain;q=0` beats `*/*`."""
    found = ((_precision(choice, offer), index) for index, choice in enumerate(choices))
    precision, position = max(found, default=(0, 0))
    return Rank(choices[position].quality if precision else 0.0, precision, position)


def _precision(choice: Choice, offer: Offer) -> int:
    """Say how precisely an item names an offer; 0: not at all."""
    if choice.name == offer.media_type:
        version = choice.parameters.get("version")
        return 3 if version is None else 4 if version == offer.version else 0
    if choice.name == f"{offer.media_type.partition('/')[0]}/*":
        return 2
    return 1 if choice.name == "*/*" else 0


def prefers_gzip(accept_encoding: str) -> bool:
    """Whether gzip is accepted, and no compression is not preferred."""
    qualities = {choice.name: choice.quality for choice in parse_choices(accept_encoding)}
    gzip = qualities.get("gzip", qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)
