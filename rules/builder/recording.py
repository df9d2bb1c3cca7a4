"""What alerts and dashboards are built of."""

from __future__ import annotations

from collections.abc import Iterator

from rules.builder.rule import Group, Record
from rules.builder.settings import Settings

HEADING = """
What the alerts and dashboards are built of. Written by `python -m rules.builder`: change
rules/builder, or give it other settings (rules/README.md).

Every series keeps the labels of its target (job, instance and what else your Prometheus gives
it): several hosts, and several Prometheus servers above one another, do not mix. `device` is
data or metadata.

Forecasts are of used bytes against what the device could become. They are never of free bytes,
which jump at each extension.
"""
DEVICES = ("data", "metadata")
# Labels of thinpool_info beside those of the target.
INFO_LABELS = "vg, pool, dm_name, uuid, profile, discards, source"
NO_SPACE = "no_space|at_.+|latched_.+"
FINE = "below_threshold|dmeventd_monitors|extend.*|busy"


def each(name: str, expr: str, comment: str = "") -> Iterator[Record]:
    """Record a series for data and for metadata: DEVICE in the expression stands for it."""
    for device in DEVICES:
        yield Record(
            name=name,
            labels={"device": device},
            expr=expr.replace("DEVICE", device),
            comment=comment if device == DEVICES[0] else "",
        )


def groups(settings: Settings) -> tuple[Group, ...]:
    """Make all groups that record."""
    return (
        Group(name="thinpool", rules=tuple(_present(settings))),
        Group(
            name="thinpool-trends",
            interval="4m",
            rules=tuple(_trends(settings)),
            comment="What reads hours of samples, and changes slowly. Every four minutes, since "
            "a query looks back for five.",
        ),
    )


def _present(settings: Settings) -> Iterator[Record]:
    yield from _targets(settings)
    yield from _state()
    yield from _sizes()
    yield from _forecasts()
    yield from _sums(settings)


def _targets(settings: Settings) -> Iterator[Record]:
    yield Record(
        name="thinpool:up:bool",
        expr=f"""
            up{{job=~"{settings.job}"}}
            or
            up and ignoring (version, python_version) last_over_time(thinpool_exporter_build_info[1d])
            or
            up and last_over_time(thinpool:up:bool[1h])
        """,
        comment="Whether a host can be scraped: those of this job, and every other target that "
        "has shown the exporter's figures, such as node_exporter with a textfile.",
    )
    yield Record(
        name="job:thinpool_up:count",
        expr=f"count by ({settings.fleet}) (thinpool:up:bool)",
    )
    yield Record(
        name="instance:thinpool_pools:count",
        expr=f"count without ({INFO_LABELS}) (thinpool_info)",
    )
    yield Record(
        name="instance:thinpool_responsible:count",
        expr="sum without (vg, pool) (thinpool_guard_responsible)",
    )
    yield Record(
        name="instance:thinpool_maintenance:bool",
        expr="last_over_time(thinpool_maintenance_end_timestamp_seconds[1d]) > bool time()",
        comment="1 while somebody works on the host, also while it is down for that.",
    )


def _state() -> Iterator[Record]:
    yield from each(
        "thinpool:used:ratio", "thinpool_DEVICE_used_bytes / (thinpool_DEVICE_size_bytes > 0)"
    )
    yield from each("thinpool:size:bytes", "thinpool_DEVICE_size_bytes")
    yield Record(
        name="thinpool:threshold:ratio",
        labels={"device": "data"},
        expr="thinpool_autoextend_threshold_ratio < 1",
        comment="The share above which LVM's policy extends the device; absent if it never does.",
    )
    yield Record(
        name="thinpool:threshold:ratio",
        labels={"device": "metadata"},
        expr="thinpool_metadata_autoextend_threshold_ratio < 1",
    )
    yield Record(
        name="thinpool:protected:bool",
        expr="""
            thinpool_guard_responsible > 0
            or
            max without (reason) (thinpool_guard_state{reason="dmeventd_monitors"})
            or
            (
              thinpool_monitored == 1
              and ignoring (vg, pool) thinpool_dmeventd_up == 1
              and thinpool_autoextend_threshold_ratio < 1
              and thinpool_autoextend_step_ratio > 0
              unless ignoring (device)
              thinpool_next_extend_possible_bytes < thinpool_next_extend_bytes
            )
            or
            1 + 0 * thinpool_data_size_bytes{vg="",pool=~"stratis-1-private-.+"}
            or
            0 * thinpool_data_size_bytes
        """,
        comment="1 where somebody would extend the pool: the guard; or a dmeventd that the guard "
        "leaves it to, and takes over from after half a minute; or, without a guard that acts, a "
        "live dmeventd that monitors it and whose next step fits (LVM extends by all or "
        "nothing); or stratisd, whose pool it is by its name.",
    )
    yield Record(
        name="thinpool:unprotected:reason",
        expr=f"""
            label_replace(
              (thinpool:protected:bool == 0) and thinpool_profile_missing == 1,
              "reason", "profile_missing", "", ""
            ) + 1
            or ignoring (reason)
            label_replace(
              (thinpool:protected:bool == 0) and thinpool_autoextend_threshold_ratio == 1,
              "reason", "policy_off", "", ""
            ) + 1
            or ignoring (reason)
            (
              thinpool_guard_state{{reason!~"{FINE}"}}
              and ignoring (reason) thinpool:protected:bool == 0
            )
            or ignoring (reason)
            label_replace(
              (thinpool:protected:bool == 0)
              and ignoring (mode) thinpool_guard_mode{{mode="observe"}},
              "reason", "observe_only", "", ""
            ) + 1
            or ignoring (reason)
            label_replace(thinpool:protected:bool == 0, "reason", "no_guard", "", "") + 1
        """,
        comment="Why nobody does, in the words of thinpool_guard_state and one of our own, "
        "no_guard. What stops everybody comes before what stops the guard alone.",
    )
    yield Record(
        name="thinpool:overcommitted:bool",
        labels={"device": "data"},
        expr="""
            (thinpool_virtual_size_bytes > bool thinpool_data_size_bytes)
            and thinpool_thin_volumes > 0
            unless ignoring (server_version, storage_driver, engine, path, driver) (
              thinpool_docker_info{storage_driver="devicemapper"}
              or thinpool_storage_root_info{driver=~"devicemapper|devmapper"}
            )
            or
            1 + 0 * thinpool_data_size_bytes
        """,
        comment="0 where the pool has all that its volumes promise, so that its data cannot run "
        "out. If Docker's devicemapper or containerd's devmapper makes the volumes, only the "
        "active ones are known, and it is 1.",
    )


def _sizes() -> Iterator[Record]:
    yield Record(
        name="thinpool:attainable:bytes",
        labels={"device": "data"},
        expr="""
            (thinpool_data_size_bytes and thinpool:protected:bool == 0)
            or
            max without (device) (thinpool_attainable_bytes{device="data"})
            or
            thinpool_data_size_bytes + ignoring (device) (
              thinpool_next_extend_possible_bytes{device="data"}
              < thinpool_next_extend_bytes{device="data"}
            )
            or
            thinpool_data_size_bytes + ignoring (pool) group_left () thinpool_vg_allocatable_bytes
            or
            thinpool_data_size_bytes
        """,
        comment="The size that the device could reach. If nobody extends it, that is its present "
        "size. Otherwise the host says it. Without a guard it is the present size and what the "
        "volume group has left. "
        "Each pool is counted as if it were alone. Metadata takes as much again for its spare, "
        "and the kernel uses no more than 15.9 GiB of it.",
    )
    yield Record(
        name="thinpool:attainable:bytes",
        labels={"device": "metadata"},
        expr="""
            (thinpool_metadata_size_bytes and thinpool:protected:bool == 0)
            or
            max without (device) (thinpool_attainable_bytes{device="metadata"})
            or
            thinpool_metadata_size_bytes + ignoring (device) (
              thinpool_next_extend_possible_bytes{device="metadata"}
              < thinpool_next_extend_bytes{device="metadata"}
            )
            or
            clamp_max(
              thinpool_metadata_size_bytes
              + ignoring (pool) group_left () thinpool_vg_allocatable_bytes / 2,
              17045913600
            )
            or
            thinpool_metadata_size_bytes
        """,
    )
    yield from each(
        "thinpool:free:bytes",
        "thinpool_DEVICE_size_bytes - thinpool_DEVICE_used_bytes",
        "What can still be written: now, and when the device has become all that it could.",
    )
    yield from each(
        "thinpool:headroom:bytes",
        'thinpool:attainable:bytes{device="DEVICE"} - ignoring (device) thinpool_DEVICE_used_bytes',
    )


def _forecasts() -> Iterator[Record]:
    yield from each(
        "thinpool:used:deriv1h",
        "deriv(thinpool_DEVICE_used_bytes[1h])",
        "Bytes gained in a second, on average over an hour.",
    )
    yield from each(
        "thinpool:used:steady1h",
        """
            deriv(thinpool_DEVICE_used_bytes[30m])
            > ignoring (device) 0.25 * thinpool:used:deriv1h{device="DEVICE"}
            and
            deriv(thinpool_DEVICE_used_bytes[30m] offset 30m)
            > ignoring (device) 0.25 * thinpool:used:deriv1h{device="DEVICE"}
        """,
        "Present where both halves of that hour have gained their share: one image that is "
        "pulled, or one restore, is not a trend.",
    )
    yield Record(
        name="vg:thinpool_used:deriv1h",
        expr="""
            sum without (pool, device) (
              (thinpool:used:deriv1h > 0)
              and ignoring (device) thinpool:protected:bool == 1
            )
        """,
        comment="What all pools that are extended out of a volume group gain together.",
    )
    yield Record(
        name="thinpool:until_full:seconds",
        expr="thinpool:free:bytes / (thinpool:used:deriv1h > 0)",
        comment="Seconds at the last hour's rate until the device is full as it is, and until "
        "it is full when it has become all that it could; absent while it does not fill. Pools "
        "of one volume group share what it has left: the first one to be full is never told "
        "too late.",
    )
    yield Record(
        name="thinpool:until_exhausted:seconds",
        expr="""
            (
              thinpool:headroom:bytes / (thinpool:used:deriv1h > 0)
              < thinpool:until_full:seconds + ignoring (pool, device) group_left ()
                (thinpool_vg_allocatable_bytes / vg:thinpool_used:deriv1h)
            )
            or
            thinpool:until_full:seconds + ignoring (pool, device) group_left ()
              (thinpool_vg_allocatable_bytes / vg:thinpool_used:deriv1h)
            or
            thinpool:headroom:bytes / (thinpool:used:deriv1h > 0)
        """,
    )


def _sums(settings: Settings) -> Iterator[Record]:
    fleet = settings.fleet
    yield Record(
        name="instance:thinpool_unprotected:count",
        expr="""
            count without (vg, pool) (thinpool:protected:bool == 0)
            or
            0 * count without (vg, pool) (thinpool:protected:bool)
        """,
        comment="By host.",
    )
    yield Record(
        name="instance:thinpool_used:ratio_max",
        expr="max without (vg, pool) (thinpool:used:ratio)",
    )
    yield Record(
        name="instance:thinpool_until_exhausted:seconds_min",
        expr="""
            min without (vg, pool, device) (
              0 * (thinpool:used:ratio >= 1)
              or
              thinpool:until_exhausted:seconds and thinpool:used:steady1h
            )
        """,
        comment="Of what fills steadily; 0 where a device is full.",
    )
    yield Record(
        name="job:thinpool_pools:count",
        expr=f"count by ({fleet}) (thinpool_info)",
        comment="Of the fleet.",
    )
    yield Record(
        name="job:thinpool_unprotected:sum",
        expr=f"sum by ({fleet}) (instance:thinpool_unprotected:count)",
    )
    for kind in ("size", "used"):
        yield Record(
            name=f"job:thinpool_data_{kind}_bytes:sum",
            expr=f"sum by ({fleet}) (thinpool_data_{kind}_bytes)",
        )


def _trends(settings: Settings) -> Iterator[Record]:
    yield Record(
        name="job:thinpool_guard_extended_bytes:increase1d",
        expr=f"sum by ({settings.fleet}) (increase(thinpool_guard_extended_bytes_total[1d]))",
    )
    yield from each(
        "thinpool:used:deriv6h",
        "deriv(thinpool_DEVICE_used_bytes[6h])",
        "Bytes gained in a second, on average over a quarter of a day, and the most in use in "
        "it, in a day before that, and in the last day.",
    )
    yield from each("thinpool:used:max6h", "max_over_time(thinpool_DEVICE_used_bytes[6h])")
    yield Record(
        name="thinpool:used:max_day_before",
        expr="max_over_time(thinpool:used:max6h[18h:1h] offset 6h)",
    )
    yield Record(
        name="thinpool:used:max1d",
        expr="max_over_time(thinpool:used:max6h[18h])",
    )
    yield Record(
        name="vg:thinpool_used:deriv6h",
        pint="disable rule/dependency",
        expr="""
            sum without (pool, device) (
              (thinpool:used:deriv6h > 0)
              and ignoring (device) thinpool:protected:bool == 1
            )
        """,
        comment="What all pools that are extended out of a volume group gain together.",
    )
    yield Record(
        name="thinpool:until_exhausted_by_6h:seconds",
        pint="disable rule/dependency",
        expr="""
            (
              thinpool:headroom:bytes / (thinpool:used:deriv6h > 0)
              < thinpool:free:bytes / (thinpool:used:deriv6h > 0) + ignoring (pool, device) group_left ()
                (thinpool_vg_allocatable_bytes / vg:thinpool_used:deriv6h)
            )
            or
            thinpool:free:bytes / (thinpool:used:deriv6h > 0) + ignoring (pool, device) group_left ()
              (thinpool_vg_allocatable_bytes / vg:thinpool_used:deriv6h)
            or
            thinpool:headroom:bytes / (thinpool:used:deriv6h > 0)
        """,
        comment="Seconds until all that the device could become is full, as above, at that rate.",
    )
    yield from each(
        "thinpool:used:steady6h",
        """
            deriv(thinpool_DEVICE_used_bytes[2h])
            > ignoring (device) 0.25 * thinpool:used:deriv6h{device="DEVICE"}
            and
            deriv(thinpool_DEVICE_used_bytes[2h] offset 2h)
            > ignoring (device) 0.25 * thinpool:used:deriv6h{device="DEVICE"}
            and
            deriv(thinpool_DEVICE_used_bytes[2h] offset 4h)
            > ignoring (device) 0.25 * thinpool:used:deriv6h{device="DEVICE"}
            unless
            thinpool_DEVICE_used_bytes
            <= ignoring (device) thinpool:used:max_day_before{device="DEVICE"}
        """,
        "Present where each third of that time has gained its share, and more is in use than at "
        "any time of the day before. What fills each night and is cleaned up each morning is not "
        "a trend either, nor is a backup that has been written within two or three hours.",
    )
    yield from _weeks()


def _weeks() -> Iterator[Record]:
    yield Record(
        name="thinpool:used:growth7d",
        expr="""
            (thinpool:used:max1d - thinpool:used:max1d offset 7d) / (7 * 86400)
            and thinpool:used:max1d offset 8d
        """,
        comment="Bytes gained in a second over a week and over a month, from each day's most, and "
        "days until all that the device could become is full at a week's rate. A pool's first "
        "day does not count, because it was watched for a part of it only.",
    )
    yield Record(
        name="thinpool:used:growth30d",
        expr="""
            (thinpool:used:max1d - thinpool:used:max1d offset 30d) / (30 * 86400)
            and thinpool:used:max1d offset 31d
        """,
    )
    yield Record(
        name="thinpool:until_exhausted_by_7d:days",
        pint="disable rule/dependency",
        expr="""
            clamp_min(thinpool:attainable:bytes - thinpool:used:max1d, 0)
            / (thinpool:used:growth7d > 0) / 86400
        """,
    )
