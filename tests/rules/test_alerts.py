"""Each alert fires, is silent just below, outlives a missed scrape, and ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.rules import promtool

HOST = 'job="thinpool",instance="host:10128"'
POOL = f'{HOST},vg="docker",pool="thinpool"'
GIB = 1024**3
PATIENCE_MINUTES = 12  # what is read back over five minutes has passed by then

# A host on which nothing is wrong: a pool of 100 GiB, half full, guarded, with room to grow.
HEALTHY: Mapping[str, float] = {
    f"up{{{HOST}}}": 1,
    f"thinpool_info{{{POOL}}}": 1,
    f"thinpool_data_size_bytes{{{POOL}}}": 100 * GIB,
    f"thinpool_data_used_bytes{{{POOL}}}": 50 * GIB,
    f"thinpool_metadata_size_bytes{{{POOL}}}": GIB,
    f"thinpool_metadata_used_bytes{{{POOL}}}": GIB // 10,
    **{
        f'thinpool_mode{{{POOL},mode="{mode}"}}': float(mode == "rw")
        for mode in ("rw", "ro", "out_of_data_space", "failed", "inactive", "unknown")
    },
    f"thinpool_needs_check{{{POOL}}}": 0,
    f"thinpool_autoextend_threshold_ratio{{{POOL}}}": 0.8,
    f"thinpool_metadata_autoextend_threshold_ratio{{{POOL}}}": 0.8,
    f"thinpool_monitored{{{POOL}}}": 0,
    f"thinpool_dmeventd_up{{{HOST}}}": 0,
    f"thinpool_guard_responsible{{{POOL}}}": 1,
    f'thinpool_guard_state{{{POOL},reason="below_threshold"}}': 1,
    f"thinpool_guard_takeovers_total{{{POOL}}}": 0,
    f'thinpool_vg_allocatable_bytes{{{HOST},vg="docker"}}': 200 * GIB,
    f'thinpool_next_extend_bytes{{{POOL},device="data"}}': 20 * GIB,
    f'thinpool_next_extend_possible_bytes{{{POOL},device="data"}}': 20 * GIB,
    f'thinpool_next_extend_bytes{{{POOL},device="metadata"}}': GIB / 4,
    f'thinpool_next_extend_possible_bytes{{{POOL},device="metadata"}}': GIB / 4,
    f"thinpool_loopback{{{POOL}}}": 0,
    f"thinpool_docker_up{{{HOST}}}": 1,
    f"thinpool_docker_data_available_bytes{{{HOST}}}": 50 * GIB,
    f"thinpool_docker_min_free_space_bytes{{{HOST}}}": 10 * GIB,
    **{
        f'thinpool_collector_success{{{HOST},collector="{name}"}}': 1
        for name in ("device_mapper", "lvm", "policy", "docker")
    },
    f"thinpool_exporter_snapshot_success{{{HOST}}}": 1,
    f"thinpool_exporter_config_last_reload_successful{{{HOST}}}": 1,
}
# These tell the time, and so grow by a minute each minute.
CLOCKS = (
    f"thinpool_guard_last_cycle_timestamp_seconds{{{HOST}}}",
    f"thinpool_exporter_snapshot_timestamp_seconds{{{HOST}}}",
)
SHORT = re.compile(r"^(\w+)(?:\{(.*)\})?$")


def series(short: str) -> str:
    """Find the one series of a healthy host that a name and some labels mean."""
    name, labels = SHORT.match(short).groups()  # type: ignore[union-attr]
    wanted = set((labels or "").split(",")) - {""}
    found = [
        known
        for known in (*HEALTHY, *CLOCKS)
        if known.partition("{")[0] == name
        and wanted <= set(known.partition("{")[2].rstrip("}").split(","))
    ]
    assert len(found) == 1, (short, found)
    return found[0]


Value = float | tuple[float, float] | None  # constant; start and gain a minute; absent


@dataclass(frozen=True)
class Case:
    """One alert: what makes it fire and what is just not enough, and within how many minutes.

    `before` is how long a rate has to have been known; `labels` what the alert carries
    beside the host's.
    """

    alert: str
    severity: str
    bad: Mapping[str, Value]
    enough: Mapping[str, Value]
    minutes: int
    labels: Mapping[str, str] = field(
        default_factory=lambda: {"vg": "docker", "pool": "thinpool"}
    )
    before: int = 10
    recovery: Mapping[str, Value] = field(default_factory=dict)


def timeline(
    case: Case, changes: Mapping[str, Value], lengths: tuple[int, int, int], missed: int
) -> dict[str, str]:
    """Write all series: healthy, then changed, then as after recovery, in minutes."""
    healthy, changed, after = lengths
    by_series = {series(short): value for short, value in changes.items()}
    recovered = {series(short): value for short, value in case.recovery.items()}
    lines = {}
    for name in (*HEALTHY, *CLOCKS):
        calm: Value = (0.0, 60.0) if name in CLOCKS else HEALTHY[name]
        values = [
            *(_at(calm, minute) for minute in range(healthy)),
            *(
                _at(by_series[name], minute - healthy)
                if name in by_series
                else _at(calm, minute)
                for minute in range(healthy, healthy + changed)
            ),
            *(
                _at(recovered.get(name, calm), minute)
                for minute in range(healthy + changed, healthy + changed + after)
            ),
        ]
        if not name.startswith("up{"):
            values[missed] = "stale"
        lines[name] = " ".join(values)
    return lines


def _at(value: Value, minute: int) -> str:
    if value is None:
        return "_"
    if isinstance(value, tuple):
        return repr(value[0] + value[1] * minute)
    return repr(value)


STALE = {CLOCK.partition("{")[0]: (0.0, 0.0) for CLOCK in CLOCKS}
CASES = (
    *(
        Case(
            alert,
            "critical",
            {f'thinpool_mode{{mode="{mode}"}}': 1, 'thinpool_mode{mode="rw"}': 0},
            {f'thinpool_mode{{mode="{mode}"}}': 0},
            minutes=0,
        )
        for alert, mode in (
            ("ThinPoolOutOfDataSpace", "out_of_data_space"),
            ("ThinPoolFailed", "failed"),
            ("ThinPoolReadOnly", "ro"),
        )
    ),
    Case(
        "ThinPoolNeedsCheck",
        "critical",
        {"thinpool_needs_check": 1},
        {"thinpool_needs_check": 0},
        0,
    ),
    # 250 GiB may still be written: 62 GiB an hour for four hours.
    Case(
        "ThinPoolDataFillingUp",
        "critical",
        {
            "thinpool_data_used_bytes": (50 * GIB, 1.2 * GIB),
            "thinpool_vg_allocatable_bytes": 200 * GIB,
        },
        {"thinpool_data_used_bytes": (50 * GIB, 0.6 * GIB)},
        minutes=70,
        before=70,
    ),
)


def labels_of(case: Case) -> str:
    """Write what an alert must be labelled with."""
    labels = {
        "__name__": "ALERTS",
        "alertname": case.alert,
        "alertstate": "firing",
        "severity": case.severity,
        "job": "thinpool",
        "instance": "host:10128",
        **case.labels,
    }
    name = labels.pop("__name__")
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def expect(case: Case, minute: int, *, fires: bool) -> dict[str, Any]:
    """Say whether the alert fires at a minute."""
    selector = f'alertname="{case.alert}",severity="{case.severity}",alertstate="firing"'
    samples = [{"labels": labels_of(case), "value": 1}] if fires else []
    return {"expr": f"ALERTS{{{selector}}}", "eval_time": f"{minute}m", "exp_samples": samples}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.severity}")
def test_fires_outlives_a_missed_scrape_and_ends(case: Case, tmp_path: Path) -> None:
    """In this order, on one time line."""
    fires_at = case.before + case.minutes + 3
    missed = fires_at + 2
    lengths = (case.before, case.minutes + 8, PATIENCE_MINUTES + case.minutes)
    status, said = promtool.run(
        tmp_path,
        [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": values}
                    for name, values in timeline(case, case.bad, lengths, missed).items()
                ],
                "promql_expr_test": [
                    expect(case, case.before - 1, fires=False),
                    expect(case, fires_at, fires=True),
                    expect(case, missed, fires=True),
                    expect(case, missed + 1, fires=True),
                    expect(case, sum(lengths) - 1, fires=False),
                ],
            }
        ],
    )
    assert status == 0, said
