"""Alerts on Docker, and on the guard and exporter of a host."""

from __future__ import annotations

from collections.abc import Iterator

from rules.builder.conditions import OF_ALERTS, indented, lasting, recent
from rules.builder.rule import Alert
from rules.builder.settings import MOST_DEFAULT_INTERVAL_SECONDS, Settings

HOST = "{{ $labels.instance }}"


def of_docker(settings: Settings) -> Iterator[Alert]:
    """Tell what Docker itself does not do any more."""
    yield Alert(
        name="ThinPoolDockerDown",
        severity="warning",
        scope="host",
        expr=lasting(
            f"{recent('thinpool_docker_up', settings)} == 0",
            "max_over_time(thinpool_docker_up[1d]) == 1",
            "ThinPoolDockerDown",
            severity="warning",
        ),
        for_="5m",
        summary="Docker does not answer.",
        description=(
            f"Docker on {HOST} does not answer docker info, and did within the last day. It does "
            "not run, or it hangs because its thin pool is full or suspended.",
        ),
        first="systemctl status docker",
        comment="Not of hosts without Docker.",
    )
    data, metadata, least = (
        recent(f"thinpool_docker_{name}_bytes", settings)
        for name in ("data_available", "metadata_available", "min_free_space")
    )
    yield Alert(
        name="ThinPoolDockerMinFreeSpace",
        severity="warning",
        scope="host",
        expr=f"""
(
  label_replace(
    {data}
    <= {least},
    "device", "data", "", ""
  )
  or
  label_replace(
    {metadata}
    <= {least}
    / {recent("thinpool_docker_data_size_bytes", settings)}
    * {recent("thinpool_docker_metadata_size_bytes", settings)},
    "device", "metadata", "", ""
  )
)
and ignoring (device)
{recent("thinpool_docker_up", settings)} == 1
""",
        for_="5m",
        summary="Docker refuses new containers, because its pool has too little space.",
        description=(
            f"Docker on {HOST} has {{{{ $value | humanize1024 }}}}B left for "
            "{{ $labels.device }}, no more than its min_free_space: docker run and docker pull "
            "fail.",
        ),
        first="docker system df",
        comment="Docker prints the minimum of data alone, and holds metadata to the same "
        "percentage.",
    )
    yield Alert(
        name="ThinPoolDockerKeepsDeleted",
        severity="warning",
        scope="host",
        expr="""
min_over_time(thinpool_docker_deferred_deleted_devices[6h]) > 10
and
deriv(thinpool_docker_deferred_deleted_devices[6h]) >= 0
""",
        for_="1h",
        summary="Docker cannot remove the volumes of deleted containers.",
        description=(
            f"Docker on {HOST} has {{{{ $value }}}} volumes that it has not been able to remove "
            "for six hours. Their space is not returned to the pool. Some process still has them "
            "mounted.",
        ),
        first="docker info | grep -i deferred",
    )


def of_the_guard(settings: Settings) -> Iterator[Alert]:
    """Page when the guard of a host is gone, and tell what it cannot do or read."""
    cycle, snapshot = (
        "thinpool_guard_last_cycle_timestamp_seconds",
        "thinpool_exporter_snapshot_timestamp_seconds",
    )
    success = "thinpool_exporter_snapshot_success"
    readable = recent(success, settings)
    # Two samples at least. Figures are gone a minute after the guard: so that there is a page at
    # every minute, this one must begin when the pools' own end.
    compared = (
        "4m5s"
        if settings.scrape_seconds <= MOST_DEFAULT_INTERVAL_SECONDS
        else settings.compared
    )
    stale = f"""changes({cycle}[{compared}]) == 0
and
count_over_time({cycle}[{compared}]) > 1
or
changes({snapshot}[{compared}]) == 0
and
count_over_time({snapshot}[{compared}]) > 1
and
{readable}
or
max_over_time({success}[{compared}]) == 0
and
count_over_time({success}[{compared}]) > 1
and
max_over_time({success}[{compared}] offset 1m) == 0"""
    has_pools = "last_over_time(instance:thinpool_pools:count[1d])"
    leaves_all = "max_over_time(instance:thinpool_responsible:count[1h]) == 0"
    fired = 'last_over_time(ALERTS{alertname="ThinPoolGuardStale",severity="critical",alertstate="firing"}[1d])'
    unprotected = f"""(
  {leaves_all}
  unless ignoring ({OF_ALERTS})
  {fired}
)"""
    yield Alert(
        name="ThinPoolGuardStale",
        severity="critical",
        scope="host",
        expr=f"(\n{indented(stale)}\n)\nand\n{has_pools}\nunless\n{unprotected}",
        summary="The guard of a host is dead. Nothing extends its thin pools.",
        description=(
            f"The guard on {HOST} has not been heard of for four minutes. It was what extends "
            "thin pools there. How full they are is not known.",
        ),
        first="systemctl status thinpool-guard",
        comment="The guard's time does not move. How old it looks does not count: a host's clock "
        "may be wrong. Only of hosts that have pools. If dmeventd extends all of them, it is a "
        "ticket. After a boot the exporter may answer before the guard has published anything: "
        "that is no page in the first minute.",
    )
    yield Alert(
        name="ThinPoolGuardStale",
        severity="warning",
        scope="host",
        expr=f"(\n{indented(stale)}\n)\nand\n{has_pools}\nand\n{unprotected}",
        summary="The guard of a host is dead. dmeventd, or nothing, protects its thin pools.",
        description=(
            f"The guard on {HOST} has not been heard of for four minutes. It left the host's "
            "thin pools to others. How full they are is not known.",
        ),
        first="systemctl status thinpool-guard",
    )
    yield Alert(
        name="ThinPoolGuardErrors",
        severity="warning",
        scope="host",
        expr="""
increase(thinpool_guard_errors_total{stage!="source"}[10m5s]) > 0
or
increase(thinpool_exporter_render_errors_total[10m5s]) > 0
""",
        for_="15m",
        summary="The guard of a host keeps meeting errors.",
        description=(
            "{{ if $labels.stage }}The guard on {{ $labels.instance }} keeps failing at a part of "
            "its work (stage {{ $labels.stage }})",
            "{{- else }}The exporter on {{ $labels.instance }} keeps failing to show a pool or "
            "another part of its figures{{ end }}. Its journal says what that is about.",
            "Everything else goes on.",
        ),
        first="journalctl -u thinpool-guard -u thinpool-exporter -p err -n 20",
        comment="Sources have alerts of their own, and on a host without Docker asking it fails "
        "for ever.",
    )
    yield Alert(
        name="ThinPoolGuardImpaired",
        severity="warning",
        scope="host",
        expr=f"""
label_replace({recent("thinpool_guard_memory_locked", settings)} == 0, "what", "memory", "", "")
or
label_replace(
  sum without (vg, pool) (increase(thinpool_guard_unarchived_extends_total[1d])) > 0,
  "what", "archive", "", ""
)
or
label_replace(
  max without (outcome) (increase(thinpool_hook_calls_total{{outcome="failed"}}[1h])) > 0
  unless
  max without (outcome) (increase(thinpool_hook_calls_total{{outcome="done"}}[1h])) > 0,
  "what", "hook", "", ""
)
""",
        for_="15m",
        summary="The guard of a host works, but lacks something.",
        description=(
            f"The guard on {HOST} protects its pools.",
            '{{ if eq $labels.what "memory" }}But its memory is not locked: on a host that is '
            "short of memory, an extension may come too late.",
            '{{- else if eq $labels.what "archive" }}But LVM could not keep a copy of the volume '
            "group's metadata when it extended a pool: the file system of /etc/lvm is full or "
            "read-only.",
            "{{- else }}But the configured hook fails each time it is called.{{ end }}",
        ),
        first="journalctl -u thinpool-guard -p warning -n 20",
    )
    yield Alert(
        name="ThinPoolCollectorStale",
        severity="warning",
        scope="host",
        expr=f"""
{recent('thinpool_collector_success{collector="device_mapper"}', settings)} == 0
or
{recent('thinpool_collector_success{collector=~"lvm|policy"}', settings)} == 0
and ignoring (collector)
{recent("instance:thinpool_pools:count", settings)}
""",
        for_="15m",
        summary="A part of a host's figures is old.",
        description=(
            f"{{{{ $labels.collector }}}} on {HOST} cannot be read. Sizes and settings stay as "
            "they were read last, and the guard decides by them. How full a pool is becomes "
            "unknown.",
        ),
        first="thinpool-exporter check",
        comment="A host without pools needs neither LVM nor its policy.",
    )
    yield Alert(
        name="ThinPoolConfigReloadFailed",
        severity="warning",
        scope="host",
        expr=f"{recent('thinpool_exporter_config_last_reload_successful', settings)} == 0",
        for_="5m",
        summary="A changed configuration is not in force.",
        description=(
            f"The configuration on {HOST} has faults. The old settings stay in force.",
        ),
        first="thinpool-exporter check-config",
    )
    yield Alert(
        name="ThinPoolFiguresLost",
        severity="warning",
        scope="host",
        expr=f"""
label_replace(
  changes({snapshot}[30m5s]) == 0
  and
  count_over_time({snapshot}[30m5s]) > 1
  unless
  {readable},
  "what", "frozen", "", ""
)
or
label_replace(
  last_over_time({snapshot}[1d])
  unless
  last_over_time({snapshot}[30m])
  and
  max_over_time(thinpool:up:bool[{settings.compared}]) == 1,
  "what", "gone", "", ""
)
""",
        for_="5m",
        summary="A host answers, but its thin pools' figures are lost.",
        description=(
            f"{HOST} answers scrapes,",
            '{{ if eq $labels.what "frozen" }}but the figures of its thin pools have not '
            "changed for half an hour: what writes them (cron, a timer) does not run.",
            "{{- else }}but it has shown no figures of thin pools for half an hour, and did "
            "within the last day.{{ end }}",
            "Its other alerts say nothing.",
        ),
        first="thinpool-exporter collect, as the host's timer or cron job calls it",
        comment="Of textfiles, mostly. Where the exporter serves the figures itself, "
        "ThinPoolGuardStale tells that they stand still.",
    )
    yield Alert(
        name="ThinPoolMaintenance",
        severity="none",
        scope="host",
        expr="instance:thinpool_maintenance:bool == 1",
        summary="Somebody works on a host.",
        description=(
            f"thinpool-exporter maintenance was called on {HOST}. Until it ends, Alertmanager "
            "holds back what such work causes (rules/alertmanager.example.yml).",
        ),
        first="thinpool-exporter maintenance --end, if the work is done",
    )
