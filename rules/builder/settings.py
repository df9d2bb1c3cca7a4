"""What may differ from one Prometheus to another."""

from __future__ import annotations

from dataclasses import dataclass

REPOSITORY = "https://github.com/thinpool-exporter/thinpool-exporter/blob/main"
# Last samples this old still count: a scrape or two may fail.
RECENT_SECONDS = 300
# Ranges in which samples are compared are so much longer than a whole number of scrapes, so
# that they hold as many samples in every Prometheus: ranges are left-open since 3.0.
MARGIN_SECONDS = 5
MOST_DEFAULT_INTERVAL_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every choice that a site may make; the committed rules have these defaults.

    `job` is a regular expression. `cluster` is the label that tells your clusters apart, if
    your Prometheus or its remote storage has several. `scrape_seconds` is the longest scrape
    interval of these hosts; the defaults hold from 15 to 120 s.
    """

    job: str = "thinpool"
    cluster: str = ""
    scrape_seconds: int = 60
    page_hours: int = 4
    ticket_hours: int = 24
    page_minutes: int = 20
    ticket_days: int = 14
    nearly_full_percent: int = 95
    full_percent: int = 99
    many_hosts: int = 10
    runbooks: str = f"{REPOSITORY}/rules/runbooks/{{}}.md"
    host_scheme: str = "http"
    grafana: str = "http://grafana"

    @property
    def recent(self) -> str:
        """The range of last_over_time: two scrapes and a half, at least five minutes."""
        if self.scrape_seconds <= MOST_DEFAULT_INTERVAL_SECONDS:
            return duration(RECENT_SECONDS)
        return duration(-(-self.scrape_seconds * 5 // 2 // 60) * 60)

    @property
    def compared(self) -> str:
        """The range in which at least two samples are compared."""
        return f"{self.recent}{MARGIN_SECONDS}s"

    @property
    def fleet(self) -> str:
        """The labels of a fleet."""
        return f"{self.cluster}, job" if self.cluster else "job"

    @property
    def host(self) -> tuple[str, ...]:
        """The labels by which a host's series are found."""
        return ((self.cluster,) if self.cluster else ()) + ("job", "instance")


def duration(seconds: int) -> str:
    """Write a duration as Prometheus does, in its largest whole unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
