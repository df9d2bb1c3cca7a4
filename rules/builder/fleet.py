"""Alerts on hosts that cannot be scraped, and on fleets of them."""

from __future__ import annotations

from collections.abc import Iterator

from rules.builder.rule import ALERT_LABELS, Alert
from rules.builder.settings import Settings
from rules.builder.texts import PERCENT

HOST = "{{ $labels.instance }}"
JOB = "job {{ $labels.job }}"


def of_the_fleet(settings: Settings) -> Iterator[Alert]:
    """Page on many hosts at once, on hosts that were in trouble, and on lost targets."""
    yield Alert(
        name="ThinPoolHostLost",
        severity="critical",
        scope="host",
        expr=f"""
thinpool:up:bool == 0
and ignoring ({ALERT_LABELS})
last_over_time(ALERTS{{alertname=~"ThinPool.+",severity="critical",alertstate="firing"}}[15m])
""",
        for_="3m",
        summary="A host whose thin pools were in trouble does not answer any more.",
        description=(
            f"{HOST} had a page about a thin pool, and cannot be scraped now. That page ends, "
            "because its figures are gone; the trouble does not. A full pool is the commonest "
            "reason for a host to stop answering.",
        ),
        first="log in, or use the host's console: thinpool-exporter check",
        comment="It takes over from a page that ends for want of figures, and stays until the "
        "host answers again: it counts itself.",
    )
    yield Alert(
        name="ThinPoolExporterDown",
        severity="warning",
        scope="host",
        expr="thinpool:up:bool == 0",
        for_="10m",
        summary="A host cannot be scraped.",
        description=(
            f"Nothing is known of the thin pools on {HOST}. If the host runs, its guard probably "
            "does as well: it is a process of its own, unless you start `thinpool-exporter run`.",
        ),
        first="systemctl status thinpool-exporter thinpool-guard",
    )
    down = "thinpool:up:bool == 0 unless instance:thinpool_maintenance:bool == 1"
    count = f"count by ({settings.fleet}) ({down})"
    share = f"{count} / count by ({settings.fleet}) (thinpool:up:bool)"
    for_long = (
        f"count by ({settings.fleet}) (max_over_time(thinpool:up:bool[10m5s]) == 0 "
        "unless instance:thinpool_maintenance:bool == 1)"
    )
    yield Alert(
        name="ThinPoolExportersDown",
        severity="critical",
        scope="fleet",
        expr=f"""
{share} > 0.2
and
{count} > 5
or
{share} > 0.5
and
{count} > 1
or
{share} > 0
and
{for_long} > {settings.many_hosts}
""",
        for_="5m",
        keep="5m",
        summary="Many hosts cannot be scraped.",
        description=(
            f"{PERCENT} of the hosts of {JOB} cannot be scraped. Look for a network or a rack "
            "first, not at the hosts.",
        ),
        first="Prometheus' page /targets: what do the lost hosts have in common?",
        comment="A fifth of a fleet, half of a small one, or more than ten hosts for longer "
        "than a reboot takes. The tickets of those hosts say which they are.",
    )
    most = "max_over_time(job:thinpool_up:count[1d])"
    yield Alert(
        name="ThinPoolTargetsLost",
        severity="critical",
        scope="fleet",
        expr=f"""
1 - (job:thinpool_up:count or 0 * {most}) / {most} > 0.5
""",
        for_="15m",
        summary="Most hosts are not scraped any more.",
        description=(
            f"Prometheus has lost {PERCENT} of the targets that {JOB} had within the last day: "
            "their alerts cannot fire. Its service discovery finds them no more, the job has "
            "another name, or an agent, a federation or a remote write has stopped.",
        ),
        first="Prometheus' page /targets",
        comment="A target that is gone has no `up` at all, so no other alert can tell. A fleet "
        "that is meant to be smaller is quiet again after a day.",
    )
    yield Alert(
        name="ThinPoolTargetsLost",
        severity="warning",
        scope="fleet",
        expr=f"""
1 - job:thinpool_up:count / {most} > 0.2 <= 0.5
""",
        for_="15m",
        summary="Some hosts are not scraped any more.",
        description=(
            f"Prometheus has lost {PERCENT} of the targets that {JOB} had within the last day: "
            "their alerts cannot fire.",
        ),
        first="Prometheus' page /targets",
    )
