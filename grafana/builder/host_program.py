"""The host's programs: what the guard did, what Docker says, how well the exporter works."""

from __future__ import annotations

from grafana.builder import words
from grafana.builder.frame import Panels
from grafana.builder.panels import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    RED,
    Look,
    Query,
    Steps,
    Text,
    columns,
    dashed,
    graph,
    stepped,
    timeline,
)
from grafana.builder.selectors import HOST, NAME, POOL
from grafana.builder.tables import Column, rows

STALE: Steps = ((None, GREEN), (60, AMBER), (120, RED))
RECENTLY = "[$__rate_interval]"
PRESENT = {"1": ("so", BLUE)}


def guard() -> Panels:
    """Show decisions, what came of them, and what went wrong."""
    return (
        timeline(
            Text(
                title="Decisions",
                description="The reason of the guard's last decision for each pool.",
            ),
            Query(expr=f"thinpool_guard_state{{{POOL}}}", legend=f"{NAME} {{{{reason}}}}"),
            Look(height=5, names=PRESENT),
        ),
        timeline(
            Text(title="Mode of the pools", description="The kernel's mode of each pool."),
            Query(expr=f"thinpool_mode{{{POOL}}} == 1", legend=f"{NAME} {{{{mode}}}}"),
            Look(height=5, names=PRESENT),
        ),
        columns(
            Text(
                title="Given by the guard",
                description="Bytes that the guard added, as the kernel confirmed.",
            ),
            (
                Query(
                    expr="increase("
                    f"thinpool_guard_extended_bytes_total{{{POOL}}}[$__rate_interval]) > 0",
                    legend=f"{NAME} {{{{device}}}}",
                ),
            ),
            Look(width=8, unit="bytes"),
        ),
        columns(
            Text(
                title="Failed extensions",
                description="By reason: refused by lvextend, ineffective (the kernel's size "
                "did not change), stuck, or unreadable afterwards.",
            ),
            (
                Query(
                    expr="increase("
                    f"thinpool_guard_extend_failures_total{{{POOL}}}[$__rate_interval]) > 0",
                    legend=f"{NAME} {{{{device}}}} {{{{reason}}}}",
                ),
            ),
            Look(width=8, unit="short"),
        ),
        columns(
            Text(
                title="How the guard extended",
                description="Extensions; those that gave less than a step, as there was no "
                "more; those before the threshold, as the pool filled fast; and those in the "
                "place of a dmeventd that did not act.",
            ),
            tuple(
                Query(
                    expr=f"increase(thinpool_guard_{name}_total{{{POOL}}}{RECENTLY}) > 0",
                    legend=f"{NAME} {legend}",
                )
                for name, legend in (
                    ("extends", "{{device}}"),
                    ("clamped_extends", "clamped"),
                    ("anticipated_extends", "anticipated"),
                    ("takeovers", "takeover"),
                )
            ),
            Look(width=8, unit="short"),
        ),
        rows(
            Text(
                title="Protection and policy",
                description="What the guard may do, whether the pool depends on it, whether "
                "dmeventd monitors it, and the policy's threshold and step.",
            ),
            (
                f"max by (vg, pool, mode) (thinpool_guard_mode{{{POOL}}})",
                f"max by (vg, pool) (thinpool_guard_responsible{{{POOL}}})",
                f"max by (vg, pool) (thinpool_monitored{{{POOL}}})",
                f"max by (vg, pool) (thinpool_autoextend_threshold_ratio{{{POOL}}})",
                f"max by (vg, pool) (thinpool_autoextend_step_ratio{{{POOL}}})",
                (
                    "max by (vg, pool) ("
                    f"time() - thinpool_guard_last_extend_timestamp_seconds{{{POOL}}})"
                ),
            ),
            (
                Column(of="vg", name="VG"),
                Column(of="pool", name="Pool"),
                Column(of="mode", name="Guard mode", names=words.GUARD_MODE),
                Column(of="Value #B", name="Guard protects", names=words.YES_IS_GOOD),
                Column(
                    of="Value #C",
                    name="dmeventd monitors",
                    names={"0": ("no", GREY), "1": ("yes", GREEN)},
                ),
                Column(of="Value #D", name="Threshold", unit="percentunit"),
                Column(of="Value #E", name="Step", unit="percentunit"),
                Column(of="Value #F", name="Extended before", unit="dtdurations"),
            ),
            size=(16, 6),
        ),
        graph(
            Text(
                title="Time that lvextend takes",
                description="The 95th percentile, and the mean, start to end.",
            ),
            (
                Query(
                    expr="histogram_quantile(0.95, sum by (le) (increase("
                    f"thinpool_guard_extend_duration_seconds_bucket{{{HOST}}}[1h])))",
                    legend="95th percentile",
                ),
                Query(
                    expr="sum(increase("
                    f"thinpool_guard_extend_duration_seconds_sum{{{HOST}}}[1h]))"
                    " / sum(increase("
                    f"thinpool_guard_extend_duration_seconds_count{{{HOST}}}[1h]))",
                    legend="mean",
                ),
            ),
            Look(width=8, height=6, unit="s"),
        ),
    )


def docker() -> Panels:
    """Show what Docker says of its pool: four digits, and only where it is on devicemapper."""
    panel = graph(
        Text(
            title="Data, as Docker says",
            description="Docker makes no new container while no more than its minimum is left. "
            "Beside it, what the file system below a loopback pool has left.",
        ),
        (
            Query(expr=f"thinpool_docker_data_used_bytes{{{HOST}}}", legend="used"),
            Query(expr=f"thinpool_docker_data_size_bytes{{{HOST}}}", legend="size"),
            Query(expr=f"thinpool_docker_data_available_bytes{{{HOST}}}", legend="available"),
            Query(
                expr=f"thinpool_docker_min_free_space_bytes{{{HOST}}}", legend="minimum free"
            ),
            Query(
                expr=f"thinpool_loopback_backing_free_bytes{{{POOL}}}",
                legend="{{pool}} free below it",
            ),
        ),
        Look(width=10, unit="bytes"),
    )
    return (
        timeline(
            Text(title="Docker answers", description="Whether docker info gave an answer."),
            Query(expr=f"thinpool_docker_up{{{HOST}}}", legend="Docker"),
            Look(width=6, names=words.YES_IS_GOOD),
        ),
        dashed(stepped(panel, "/^size$/"), "/^minimum free$/", RED),
        graph(
            Text(title="Metadata, as Docker says", description="Rounded to four digits."),
            (
                Query(expr=f"thinpool_docker_metadata_used_bytes{{{HOST}}}", legend="used"),
                Query(expr=f"thinpool_docker_metadata_size_bytes{{{HOST}}}", legend="size"),
                Query(
                    expr=f"thinpool_docker_metadata_available_bytes{{{HOST}}}",
                    legend="available",
                ),
            ),
            Look(width=8, unit="bytes"),
        ),
        graph(
            Text(
                title="Volumes that Docker could not remove",
                description="Deferred deletions: their space is not returned to the pool.",
            ),
            (
                Query(
                    expr=f"thinpool_docker_deferred_deleted_devices{{{HOST}}}",
                    legend="volumes",
                ),
            ),
            Look(width=24, height=5, unit="short"),
        ),
    )


def exporter() -> Panels:
    """Show whether the figures above can be believed."""
    return (
        timeline(
            Text(
                title="Collectors",
                description="Whether the last reading of each source succeeded; if not, what "
                "it gave before stays in use, and ages.",
            ),
            Query(expr=f"thinpool_collector_success{{{HOST}}}", legend="{{collector}}"),
            Look(width=8, height=7, names=words.YES_IS_GOOD),
        ),
        graph(
            Text(
                title="Time that a reading takes",
                description="Of each source, at its last reading.",
            ),
            (
                Query(
                    expr=f"thinpool_collector_duration_seconds{{{HOST}}}",
                    legend="{{collector}}",
                ),
            ),
            Look(width=8, height=7, unit="s"),
        ),
        graph(
            Text(
                title="Age of the figures",
                description="Of each source's last success, of what the guard publishes, and "
                "of the guard's last look at all pools.",
            ),
            (
                Query(
                    expr="time() - "
                    f"thinpool_collector_last_success_timestamp_seconds{{{HOST}}}",
                    legend="{{collector}}",
                ),
                Query(
                    expr=f"time() - thinpool_exporter_snapshot_timestamp_seconds{{{HOST}}}",
                    legend="snapshot",
                ),
                Query(
                    expr=f"time() - thinpool_guard_last_cycle_timestamp_seconds{{{HOST}}}",
                    legend="guard",
                ),
            ),
            Look(width=8, height=7, unit="s"),
        ),
        rows(
            Text(
                title="Versions",
                description="Of the exporter, of its Python, and whether the configuration on "
                "disk is the one in force.",
            ),
            (
                (
                    f"max by (instance, version, python_version) ("
                    f"thinpool_exporter_build_info{{{HOST}}})"
                ),
                (
                    "max by (instance) ("
                    f"thinpool_exporter_config_last_reload_successful{{{HOST}}})"
                ),
                (
                    f"max by (instance, server_version, storage_driver) ("
                    f"thinpool_docker_info{{{HOST}}})"
                ),
            ),
            (
                Column(of="instance", name="Host"),
                Column(of="version", name="Exporter"),
                Column(of="python_version", name="Python"),
                Column(of="Value #B", name="Configuration in force", names=words.YES_IS_GOOD),
                Column(of="server_version", name="Docker"),
                Column(of="storage_driver", name="Storage driver"),
            ),
            size=(8, 7),
        ),
        graph(
            Text(
                title="Processor",
                description="Of one core, by the process that serves and by the guard's.",
            ),
            (
                Query(
                    expr=f"rate(process_cpu_seconds_total{{{HOST}}}[$__rate_interval])",
                    legend="exporter",
                ),
                Query(
                    expr="rate("
                    f"thinpool_guard_process_cpu_seconds_total{{{HOST}}}[$__rate_interval])",
                    legend="guard",
                ),
            ),
            Look(width=8, height=7, unit="percentunit"),
        ),
        graph(
            Text(
                title="Memory",
                description="Resident memory of the process that serves and of the guard's.",
            ),
            (
                Query(expr=f"process_resident_memory_bytes{{{HOST}}}", legend="exporter"),
                Query(
                    expr=f"thinpool_guard_process_resident_memory_bytes{{{HOST}}}",
                    legend="guard",
                ),
            ),
            Look(width=8, height=7, unit="bytes"),
        ),
    )
