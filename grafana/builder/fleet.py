"""The fleet: which of thousands of hosts need somebody now.

Every query is of one series for each host or job, of a recording rule where there is one,
or ends in `bottomk` or `topk`: 5,000 hosts are 5,000 series, not their half a million.
"""

from __future__ import annotations

from dataclasses import replace

from grafana.builder import words
from grafana.builder.frame import Panel, Panels, Row, choice, datasource, frame, link, render
from grafana.builder.panels import (
    AMBER,
    ANY_IS_BAD,
    ANY_IS_WORSE,
    FULLNESS,
    GREEN,
    PLAIN,
    RED,
    TIME_LEFT,
    Look,
    Query,
    Steps,
    Text,
    bars,
    graph,
    numbers,
    stepped,
)
from grafana.builder.selectors import FLEET
from grafana.builder.tables import TO_HOST, TO_POOL, Column, rows

JOB = FLEET
FIRING = f'ALERTS{{{JOB}, alertname=~"ThinPool.+", alertstate="firing"'
ALERT = "by (job, instance, vg, pool, alertname, severity)"
# Of more than a table shows, pages come first.
WORST = (
    f'2 * max {ALERT} ({FIRING}, severity="critical"}})'
    f' or max {ALERT} ({FIRING}, severity="warning"}})'
)
UNTIL = f"instance:thinpool_until_exhausted:seconds_min{{{JOB}}}"
SOONEST = f"bottomk(25, {UNTIL})"
DAY = 24 * 3600
DAYS_LEFT: Steps = ((None, RED), (14, AMBER), (60, GREEN))

HOST = Column(of="instance", name="Host", link=TO_HOST)
HOST_AND_POOL = (
    Column(of="instance", name="Host", link=TO_POOL),
    Column(of="vg", name="VG"),
    Column(of="pool", name="Pool"),
)
JOB_COLUMN = Column(of="job", name="Job")


def dashboard() -> str:
    """Write the JSON of the dashboard."""
    board = (
        frame(
            "thinpool-fleet",
            "Thin pools: fleet",
            "Which hosts need somebody now, and where the fleet is going.",
            hours=24,
        )
        .with_variable(datasource())
        .with_variable(
            choice(
                "cluster",
                "Cluster",
                "label_values(thinpool_exporter_build_info, cluster)",
                every=".*",
            )
        )
        .with_variable(choice("job", "Job", "label_values(thinpool_exporter_build_info, job)"))
        .link(link("One host", "/d/thinpool-host?${datasource:queryparam}", is_ours=True))
    )
    return render(
        board,
        (
            Row(title="Now", panels=_now()),
            Row(title="Who needs somebody", panels=_needy()),
            Row(title="Growth", panels=_growth()),
            Row(title="What runs where", panels=_kinds()),
        ),
        (),
    )


def _now() -> Panels:
    def figure(title: str, text: str, expr: str, look: Look) -> Panel:
        return numbers(Text(title=title, description=text), Query(expr=expr), look)

    small = Look(width=3, height=4)
    return (
        figure(
            "Hosts",
            "Hosts that Prometheus is to scrape.",
            f"count(up{{{JOB}}})",
            small,
        ),
        figure(
            "Not answering",
            "Hosts whose exporter cannot be scraped: nothing is known of their pools.",
            f"count(up{{{JOB}}} == 0) or vector(0)",
            replace(small, steps=ANY_IS_WORSE),
        ),
        figure(
            "Pages",
            "Critical alerts that fire: somebody is wanted now.",
            f'count({FIRING}, severity="critical"}}) or vector(0)',
            replace(small, steps=ANY_IS_BAD),
        ),
        figure(
            "Tickets",
            "Warnings that fire: work for the day.",
            f'count({FIRING}, severity="warning"}}) or vector(0)',
            replace(small, steps=ANY_IS_WORSE),
        ),
        figure(
            "Full within 4 h",
            "Hosts with a pool that is full, or fills steadily and will be full within four "
            "hours, even when it has been given all that its volume group has.",
            f"count({UNTIL} < {4 * 3600}) or vector(0)",
            replace(small, steps=ANY_IS_BAD),
        ),
        figure(
            "Unprotected",
            "Pools that neither the guard nor dmeventd would extend when they fill.",
            f"sum(job:thinpool_unprotected:sum{{{JOB}}})",
            replace(small, steps=ANY_IS_WORSE),
        ),
        figure(
            "Pools",
            "Thin pools on all hosts that answer.",
            f"sum(job:thinpool_pools:count{{{JOB}}})",
            small,
        ),
        figure(
            "Space used",
            "Data in use in all pools, as a share of their present size.",
            f"sum(job:thinpool_data_used_bytes:sum{{{JOB}}})"
            f" / sum(job:thinpool_data_size_bytes:sum{{{JOB}}})",
            replace(small, unit="percentunit", steps=FULLNESS, decimals=1),
        ),
    )


def _needy() -> Panels:
    return (
        rows(
            Text(
                title="Hosts that will be full first",
                description="The 25 hosts with the least time until a pool is full, at the "
                "last hour's rate and with all that its volume group can give. Click a host to "
                "look at its pools.",
            ),
            (
                f"min by (job, instance) ({SOONEST})",
                (
                    "max by (job, instance) ("
                    f'instance:thinpool_used:ratio_max{{{JOB}, device="data"}}'
                    f" and on (job, instance) {SOONEST})"
                ),
                (
                    "max by (job, instance) ("
                    f'instance:thinpool_used:ratio_max{{{JOB}, device="metadata"}}'
                    f" and on (job, instance) {SOONEST})"
                ),
                (
                    "max by (job, instance) ("
                    f"instance:thinpool_unprotected:count{{{JOB}}}"
                    f" and on (job, instance) {SOONEST})"
                ),
            ),
            (
                HOST,
                Column(of="Value #A", name="Full in", unit="dtdurations", steps=TIME_LEFT),
                Column(of="Value #B", name="Data", unit="percentunit", steps=FULLNESS),
                Column(of="Value #C", name="Metadata", unit="percentunit", steps=FULLNESS),
                Column(of="Value #D", name="Unprotected", steps=ANY_IS_WORSE),
                JOB_COLUMN,
            ),
            sort="Full in",
            size=(12, 9),
        ),
        rows(
            Text(
                title="Firing alerts",
                description="Pages (critical) and tickets (warning), at most 100, pages first; "
                "without their routing and silences, which Alertmanager has.",
            ),
            (f"topk(100, {WORST})",),
            (
                Column(of="severity", name="Severity", names=words.SEVERITY, width=90),
                Column(of="alertname", name="Alert"),
                *HOST_AND_POOL,
                JOB_COLUMN,
            ),
            sort="Severity",
            size=(12, 9),
        ),
        rows(
            Text(
                title="Fullest pools",
                description="The 25 fullest devices, whether they fill or not.",
            ),
            (
                (
                    "topk(25, max by (job, instance, vg, pool, device) ("
                    f"thinpool:used:ratio{{{JOB}}}))"
                ),
            ),
            (
                *HOST_AND_POOL,
                Column(of="device", name="Device"),
                Column(of="Value", name="Used", unit="percentunit", steps=FULLNESS),
                JOB_COLUMN,
            ),
            sort="Used",
            is_descending=True,
            size=(12, 8),
        ),
        rows(
            Text(
                title="Pools that need disks",
                description="The 25 pools that will first have used up all that their volume "
                "group can give, at the last week's rate.",
            ),
            (
                (
                    "bottomk(25, min by (job, instance, vg, pool, device) ("
                    f"thinpool:until_exhausted_by_7d:days{{{JOB}}}))"
                ),
            ),
            (
                *HOST_AND_POOL,
                Column(of="device", name="Device"),
                Column(of="Value", name="Days left", unit="short", steps=DAYS_LEFT),
                JOB_COLUMN,
            ),
            sort="Days left",
            size=(12, 8),
        ),
        rows(
            Text(
                title="Unprotected pools",
                description="Pools that nobody would extend, at most 50, and why.",
            ),
            (
                (
                    "topk(50, max by (job, instance, vg, pool, reason) ("
                    f"thinpool:unprotected:reason{{{JOB}}}))"
                ),
            ),
            (*HOST_AND_POOL, Column(of="reason", name="Why"), JOB_COLUMN),
            size=(12, 6),
        ),
        rows(
            Text(
                title="Hosts not answering",
                description="At most 50 hosts whose exporter cannot be scraped. Many at "
                "once are a network, not hosts.",
            ),
            (f"topk(50, max by (job, instance) (up{{{JOB}}} == 0))",),
            (HOST, JOB_COLUMN),
            size=(6, 6),
        ),
        graph(
            Text(
                title="Hosts by time left",
                description="How many hosts will be full within four hours, and within a day.",
            ),
            (
                Query(
                    expr=f"count({UNTIL} < {4 * 3600}) or vector(0)", legend="within 4 hours"
                ),
                Query(expr=f"count({UNTIL} < {DAY}) or vector(0)", legend="within a day"),
            ),
            Look(width=6, height=6, unit="short"),
        ),
    )


def _growth() -> Panels:
    used = f"sum(job:thinpool_data_used_bytes:sum{{{JOB}}})"
    size = f"sum(job:thinpool_data_size_bytes:sum{{{JOB}}})"
    space = graph(
        Text(
            title="Data of all pools",
            description="What is in use, and what the pools are made for at present, on the "
            "hosts that answer: each extension is a step.",
        ),
        (Query(expr=used, legend="used"), Query(expr=size, legend="size")),
        Look(width=8, unit="bytes"),
    )
    day = graph(
        Text(
            title="Growth per day",
            description="What comes into use in a day, at the rate of the last six hours, and "
            "what the guards gave to pools within a day.",
        ),
        (
            Query(
                # Of each pool: a sum of all would fall with every host that does not answer.
                expr=f'sum(thinpool:used:deriv6h{{{JOB}, device="data"}}) * {DAY}',
                legend="used",
            ),
            Query(
                expr=f"sum(job:thinpool_guard_extended_bytes:increase1d{{{JOB}}})",
                legend="given by guards",
            ),
        ),
        Look(width=8, unit="bytes"),
    )
    fastest = bars(
        Text(
            title="Hosts that grow most",
            description="The ten hosts whose pools gain most data, as a day at the rate of the "
            "last six hours.",
        ),
        Query(
            expr="topk(10, sum by (instance) ("
            f'thinpool:used:deriv6h{{{JOB}, device="data"}}) * {DAY} > 0)',
            legend="{{instance}}",
        ),
        Look(width=8, unit="bytes", steps=PLAIN),
    )
    # A point for each ten minutes: the rates are one series for each pool.
    return (stepped(space, "/size/"), day.interval("10m"), fastest)


def _kinds() -> Panels:
    def kinds(title: str, text: str, expr: str, legend: str, look: Look) -> Panel:
        query = Query(expr=expr, legend=legend)
        return bars(Text(title=title, description=text), query, look)

    quarter = Look(width=6, height=6, unit="short")
    return (
        kinds(
            "Hosts by version",
            "Which version of the exporter runs on how many hosts.",
            f"count by (version) (thinpool_exporter_build_info{{{JOB}}})",
            "{{version}}",
            quarter,
        ),
        kinds(
            "Pools by guard mode",
            "What the guard may do: auto (act where dmeventd does not), always, observe, off.",
            f"count by (mode) (thinpool_guard_mode{{{JOB}}})",
            "{{mode}}",
            quarter,
        ),
        kinds(
            "Pools by the guard's last decision",
            "Why the guards act or do not: the reason of each pool's last decision.",
            f"topk(12, count by (reason) (thinpool_guard_state{{{JOB}}}))",
            "{{reason}}",
            quarter,
        ),
        kinds(
            "Hosts by Docker",
            "Docker's version and storage driver, where Docker answers.",
            "topk(12, count by (server_version, storage_driver) ("
            f"thinpool_docker_info{{{JOB}}}))",
            "{{server_version}} {{storage_driver}}",
            quarter,
        ),
    )
