"""The host's pools: what they hold, what they could hold, and until when."""

from __future__ import annotations

from dataclasses import replace

from grafana.builder import words
from grafana.builder.frame import Panel, Panels
from grafana.builder.panels import (
    ANY_IS_BAD,
    ANY_IS_WORSE,
    FULLNESS,
    GREEN,
    GREY,
    RED,
    TIME_LEFT,
    Look,
    Query,
    Steps,
    Text,
    dashed,
    graph,
    numbers,
    stacked,
    stepped,
    timeline,
)
from grafana.builder.selectors import HOST, NAME, POOL
from grafana.builder.tables import Column, rows

SECONDS_IN_A_DAY = 24 * 3600
TO_THIS_POOL = (
    "/d/thinpool-host?var-cluster=${cluster}&var-job=${job}&var-instance=${instance}"
    "&var-vg=${__data.fields.VG}&var-pool=${__data.fields.Pool}"
    "&${datasource:queryparam}&${__url_time_range}"
)
KEPT: Steps = ((None, RED), (1, GREEN))


def now() -> Panels:
    """Show the state of each pool, and figures of all that are chosen."""
    return (*_figures(), _pools(), *_states())


def _figures() -> Panels:
    def figure(title: str, text: str, expr: str, look: Look) -> Panel:
        return numbers(Text(title=title, description=text), Query(expr=expr), look)

    def until(device: str) -> str:
        return f'min(thinpool:until_exhausted:seconds{{{POOL}, device="{device}"}})'

    small = Look(width=4, height=4)
    return (
        figure(
            "Fullest data",
            "Data in use as a share of the pool's present size; of several pools, the fullest.",
            f'max(thinpool:used:ratio{{{POOL}, device="data"}})',
            replace(small, unit="percentunit", steps=FULLNESS, decimals=1),
        ),
        figure(
            "Fullest metadata",
            "Metadata in use as a share of its present size; of several pools, the fullest.",
            f'max(thinpool:used:ratio{{{POOL}, device="metadata"}})',
            replace(small, unit="percentunit", steps=FULLNESS, decimals=1),
        ),
        figure(
            "Data full in",
            "At the rate of the last hour, with all that the volume group can give; of several "
            "pools, the first.",
            until("data"),
            replace(small, unit="dtdurations", steps=TIME_LEFT, no_value="not filling"),
        ),
        figure(
            "Metadata full in",
            "At the rate of the last hour, with all that the volume group can give; of several "
            "pools, the first.",
            until("metadata"),
            replace(small, unit="dtdurations", steps=TIME_LEFT, no_value="not filling"),
        ),
        figure(
            "Unprotected pools",
            "Pools that neither the guard nor dmeventd would extend when they fill.",
            f"count(thinpool:protected:bool{{{POOL}}} == 0) or vector(0)",
            replace(small, steps=ANY_IS_WORSE),
        ),
        figure(
            "Alerts",
            "Alerts of this host and of these pools that fire.",
            f'count(ALERTS{{{POOL}, alertname=~"ThinPool.+", alertstate="firing"}})'
            " or vector(0)",
            replace(small, steps=ANY_IS_BAD),
        ),
    )


def _pools() -> Panel:
    by = "by (vg, pool)"
    return rows(
        Text(
            title="Pools",
            description="Each pool's state. Threshold: above it, LVM's policy extends it. "
            "Full in: with all that the volume group can give. Why: the reason of the guard's "
            "last decision. Click a pool to see it alone.",
        ),
        (
            f'max {by} (thinpool:used:ratio{{{POOL}, device="data"}})',
            f'max {by} (thinpool:threshold:ratio{{{POOL}, device="data"}})',
            f'max {by} (thinpool:used:ratio{{{POOL}, device="metadata"}})',
            f"min {by} (thinpool:until_exhausted:seconds{{{POOL}}})",
            f"max {by} (thinpool:protected:bool{{{POOL}}})",
            f"max by (vg, pool, mode) (thinpool_mode{{{POOL}}} == 1)",
            f"max by (vg, pool, reason) (thinpool_guard_state{{{POOL}}})",
        ),
        (
            Column(of="vg", name="VG"),
            Column(of="pool", name="Pool", link=TO_THIS_POOL),
            Column(of="mode", name="Mode", names=words.POOL_MODE),
            Column(of="Value #A", name="Data", unit="percentunit", steps=FULLNESS),
            Column(of="Value #B", name="Threshold", unit="percentunit"),
            Column(of="Value #C", name="Metadata", unit="percentunit", steps=FULLNESS),
            Column(of="Value #D", name="Full in", unit="dtdurations", steps=TIME_LEFT),
            Column(of="Value #E", name="Protected", names=words.YES_IS_GOOD),
            Column(of="reason", name="Why"),
        ),
        size=(24, 5),
    )


def _flag(expr: str, words_of_it: str) -> str:
    return f'label_replace(max by (vg, pool) ({expr}), "flag", "{words_of_it}", "", "")'


def _flags() -> Panel:
    flags = (
        (f"thinpool_needs_check{{{POOL}}} == 1", "must be repaired"),
        (f"thinpool_suspended{{{POOL}}} == 1", "suspended"),
        (f"thinpool_guard_queue_seconds_left{{{POOL}}} >= bool 0", "writes wait"),
        (f"thinpool_profile_missing{{{POOL}}} == 1", "profile missing"),
        (f"thinpool_metadata_snapshot_held{{{POOL}}} == 1", "metadata snapshot held"),
        (f'thinpool_info{{{POOL}, discards="ignore"}}', "ignores discards"),
        (f"thinpool_guard_taken_over{{{POOL}}} == 1", "taken over from dmeventd"),
    )
    return timeline(
        Text(
            title="What is unusual",
            description="Of each pool, and when. Nothing is shown while nothing is.",
        ),
        Query(
            expr=" or ".join(_flag(expr, text) for expr, text in flags),
            legend=f"{NAME} {{{{flag}}}}",
        ),
        Look(width=24, height=4, names={"1": ("so", RED)}),
    )


def capacity() -> Panels:
    """Show what the volumes promise, and where weeks lead."""
    promised = graph(
        Text(
            title="Promised by the volumes",
            description="The sizes of all thin volumes together, the pool's size, and the size "
            "that it can reach. If the first is above the last, the pool can run out.",
        ),
        (
            Query(expr=f"thinpool_virtual_size_bytes{{{POOL}}}", legend=f"{NAME} promised"),
            Query(expr=f"thinpool_data_size_bytes{{{POOL}}}", legend=f"{NAME} size"),
            Query(
                expr=f'thinpool:attainable:bytes{{{POOL}, device="data"}}',
                legend=f"{NAME} can reach",
            ),
        ),
        Look(width=8, unit="bytes"),
    )
    return (
        dashed(stepped(promised, "/(size|can reach)$/"), "/promised$/", "purple"),
        graph(
            Text(
                title="Growth of weeks",
                description="Bytes gained in a day, over a week and over a month, from each "
                "day's most.",
            ),
            (
                Query(
                    expr=f"thinpool:used:growth7d{{{POOL}}} * {SECONDS_IN_A_DAY}",
                    legend=f"{NAME} {{{{device}}}} week",
                ),
                Query(
                    expr=f"thinpool:used:growth30d{{{POOL}}} * {SECONDS_IN_A_DAY}",
                    legend=f"{NAME} {{{{device}}}} month",
                ),
            ),
            Look(width=8, unit="bytes"),
        ),
        rows(
            Text(
                title="Where engines keep their data",
                description="Of Docker, containerd and podman: the directory, and the pool "
                "that it is on; empty if it is on no thin pool.",
            ),
            (
                (
                    "max by (engine, path, driver, vg, pool) ("
                    f"thinpool_storage_root_info{{{HOST}}})"
                ),
            ),
            (
                Column(of="engine", name="Engine"),
                Column(of="path", name="Directory"),
                Column(of="driver", name="Driver"),
                Column(of="vg", name="VG"),
                Column(of="pool", name="Pool"),
            ),
            size=(8, 8),
        ),
    )


def _states() -> Panels:
    return (
        _flags(),
        timeline(
            Text(
                title="Protected",
                description="Whether somebody would extend the pool: the guard, or a live "
                "dmeventd that monitors it and whose next step fits.",
            ),
            Query(expr=f"thinpool:protected:bool{{{POOL}}}", legend=NAME),
            Look(width=12, height=5, names=words.YES_IS_GOOD),
        ),
        timeline(
            Text(
                title="Firing alerts",
                description="Which alerts fired when, of these pools and of their host.",
            ),
            Query(
                expr="max by (alertname, severity, vg, pool) ("
                f'ALERTS{{{POOL}, alertname=~"ThinPool.+", alertstate="firing"}})',
                legend=f"{{{{severity}}}}: {{{{alertname}}}} {NAME}",
            ),
            Look(width=12, height=5, names={"1": ("firing", RED)}),
        ),
    )


def data() -> Panels:
    """Show the data device."""
    can_grow = Text(
        title="Headroom",
        description="What the pool could still take: free in it as it is, and what the volume "
        "group can give to it. Pools of one group share the latter.",
    )
    ahead = (
        Query(
            expr=f"thinpool_data_size_bytes{{{POOL}}} - thinpool_data_used_bytes{{{POOL}}}",
            legend=f"{NAME} free in the pool",
        ),
        Query(
            expr=f'thinpool:attainable:bytes{{{POOL}, device="data"}}'
            f" - on (job, instance, vg, pool) thinpool_data_size_bytes{{{POOL}}}",
            legend=f"{NAME} the VG can give",
        ),
    )
    return (
        _device("data", "thinpool_autoextend_threshold_ratio"),
        stacked(can_grow, ahead, Look(unit="bytes", height=10)),
        _times("data"),
        _rates("data"),
        _next_steps(),
        _volume_groups(),
    )


def metadata() -> Panels:
    """Show the metadata device."""
    return (
        _device("metadata", "thinpool_metadata_autoextend_threshold_ratio"),
        _times("metadata"),
    )


def volumes() -> Panels:
    """Show the thin volumes that map most, and those that grow: those that are exported."""
    return (
        _by_volume(
            Text(
                title="Mapped by volume",
                description="What each thin volume maps of the pool, shared with snapshots and "
                "images or not; those that map most or grow fastest, by container where they "
                "are Docker's.",
            ),
            "thinpool_volume_mapped_bytes",
            "bytes",
        ),
        _by_volume(
            Text(
                title="Growth by volume",
                description="What each thin volume takes of the pool in a second, as measured "
                "at that moment.",
            ),
            "thinpool_volume_fill_bytes_per_second",
            "binBps",
        ),
        _gains(),
    )


def _by_volume(text: Text, metric: str, unit: str) -> Panel:
    queries = (
        Query(expr=f'{metric}{{{POOL}, container!=""}}', legend=f"{NAME} {{{{container}}}}"),
        Query(expr=f'{metric}{{{POOL}, container=""}}', legend=f"{NAME} {{{{volume}}}}"),
    )
    return graph(text, queries, Look(unit=unit))


def _gains() -> Panel:
    by = "by (vg, pool, container, volume)"
    mapped = f"thinpool_volume_mapped_bytes{{{POOL}}}"
    return rows(
        Text(
            title="Gained in the last hour",
            description="Thin volumes that have taken most of their pool in the last hour: "
            "whom to ask when it fills.",
        ),
        (f"topk(10, sum {by} (delta({mapped}[1h])) > 0)",),
        (
            Column(of="vg", name="VG"),
            Column(of="pool", name="Pool"),
            Column(of="container", name="Container"),
            Column(of="volume", name="Volume"),
            Column(of="Value", name="Gained", unit="bytes"),
        ),
        sort="Gained",
        is_descending=True,
        size=(24, 6),
    )


def _device(device: str, threshold: str) -> Panel:
    size = f"thinpool_{device}_size_bytes{{{POOL}}}"
    panel = graph(
        Text(
            title=f"{device.capitalize()} of each pool",
            description="In use, size, and the threshold above which the policy extends it. "
            "Vertical lines are extensions and pages.",
        ),
        (
            Query(expr=f"thinpool_{device}_used_bytes{{{POOL}}}", legend=f"{NAME} used"),
            Query(expr=size, legend=f"{NAME} size"),
            Query(
                expr=f"{size} * on (job, instance, vg, pool) ({threshold}{{{POOL}}} < 1)",
                legend=f"{NAME} threshold",
            ),
        ),
        Look(unit="bytes", height=10 if device == "data" else 8),
    )
    return dashed(stepped(panel, "/size$/"), "/threshold$/", "purple")


def _times(device: str) -> Panel:
    label = f'{{{POOL}, device="{device}"}}'
    return graph(
        Text(
            title=f"{device.capitalize()}: time until full",
            description="At the rate of the last hour: as the pool is now, and with all that "
            "its volume group can give. No line while it does not fill, or would take "
            "over a week.",
        ),
        (
            Query(
                expr=f"thinpool:until_full:seconds{label} < {7 * SECONDS_IN_A_DAY}",
                legend=f"{NAME} as it is",
            ),
            Query(
                expr=f"thinpool:until_exhausted:seconds{label} < {7 * SECONDS_IN_A_DAY}",
                legend=f"{NAME} with all growth",
            ),
        ),
        Look(unit="dtdurations"),
    )


def _rates(device: str) -> Panel:
    label = f'{{{POOL}, device="{device}"}}'
    return graph(
        Text(
            title="Fill rate",
            description="Bytes of data gained in a second: over the last hour, over six hours, "
            "and as the guard measures it at this moment.",
        ),
        (
            Query(expr=f"thinpool:used:deriv1h{label}", legend=f"{NAME} 1 h"),
            Query(expr=f"thinpool:used:deriv6h{label}", legend=f"{NAME} 6 h"),
            Query(expr=f"thinpool_fill_bytes_per_second{label}", legend=f"{NAME} now"),
        ),
        Look(unit="binBps"),
    )


def _next_steps() -> Panel:
    panel = graph(
        Text(
            title="Next extension",
            description="What the policy will ask for at the next step, and what there is for "
            "it. Where there is less, LVM and dmeventd give nothing; the guard gives that.",
        ),
        (
            Query(
                expr=f"thinpool_next_extend_possible_bytes{{{POOL}}}",
                legend=f"{NAME} {{{{device}}}} possible",
            ),
            Query(
                expr=f"thinpool_next_extend_bytes{{{POOL}}}",
                legend=f"{NAME} {{{{device}}}} wanted",
            ),
        ),
        Look(unit="bytes"),
    )
    return stepped(panel, "/(possible|wanted)$/")


def _volume_groups() -> Panel:
    group = f'{{{HOST}, vg=~"$vg"}}'
    panel = graph(
        Text(
            title="Volume group",
            description="Size, what is free, and what of that can be allocated to pools.",
        ),
        (
            Query(expr=f"thinpool_vg_size_bytes{group}", legend="{{vg}} size"),
            Query(expr=f"thinpool_vg_free_bytes{group}", legend="{{vg}} free"),
            Query(expr=f"thinpool_vg_allocatable_bytes{group}", legend="{{vg}} allocatable"),
        ),
        Look(unit="bytes"),
    )
    return dashed(stepped(panel, "/(free|allocatable)$/"), "/size$/", GREY)
