"""A generated fleet before a real Prometheus: who is heard of, and who is in trouble."""

from __future__ import annotations

from pathlib import Path

from tests.bench.fleet.fleet import GOAL_SERIES, OWN_SERIES, UP, VOLUME_SERIES
from tests.bench.fleet.hosts import HOSTS_IN_A_RACK, SERIES
from tests.bench.fleet.server import Prometheus, Rates, generating, watching
from tests.bench.fleet.specimens import specimen
from tests.waiting import wait_for

HOSTS = 3 * HOSTS_IN_A_RACK
QUICK = Rates(scrape="2s", evaluation="3s")
SECONDS = 120.0
SICK = ("unprotected=2", "no_room=1", "needs_check=1")
LOST = range(2 * HOSTS_IN_A_RACK, HOSTS)  # the last rack
# By the numbers of the hosts, and None for the fleet's own.
EXPECTED: dict[str, set[int | None]] = {
    "ThinPoolNotProtected": {0, 1},
    "ThinPoolNextExtensionImpossible": {2},
    "ThinPoolNeedsCheck": {3},
    "ThinPoolReadOnly": {3},  # as the kernel makes such a pool
    "ThinPoolExporterDown": set(LOST),
    "ThinPoolExportersDown": {None},
}


def alerts(prometheus: Prometheus) -> dict[str, set[int | None]]:
    """Read which alerts are pending or fire, and of which hosts."""
    found: dict[str, set[int | None]] = {}
    for labels, _ in prometheus.values("ALERTS"):
        name = labels.get("instance")
        host = int(name.removeprefix("host").partition(":")[0]) if name else None
        found.setdefault(labels["alertname"], set()).add(host)
    return found


def evaluation(prometheus: Prometheus) -> str:
    """Say when the first group was evaluated last."""
    return str(prometheus.get("rules")["groups"][0]["lastEvaluation"])


def test_alerts_are_of_the_hosts_in_trouble_alone(tmp_path: Path) -> None:
    """A rack that is not heard of is one page, and no host of it has another alert."""
    flags = ("--lost-racks=1", "--sick", *SICK)
    with generating(tmp_path, HOSTS, *flags), watching(tmp_path, QUICK) as prometheus:
        wait_for(
            lambda: alerts(prometheus) == EXPECTED or None,
            seconds=SECONDS,
            what=f"{EXPECTED}, but {alerts(prometheus)}",
        )
        assert prometheus.value(UP) == HOSTS - len(LOST)
        # And it stays so.
        for evaluated_at in (evaluation(prometheus) for _ in range(3)):
            wait_for(
                lambda before=evaluated_at: evaluation(prometheus) != before or None,  # type: ignore[misc]
                seconds=SECONDS,
                what="another evaluation",
            )
            assert alerts(prometheus) == EXPECTED


def test_a_host_is_few_series() -> None:
    """With one pool of LVM's and Docker, and what Prometheus adds; volumes are apart."""
    series = [found[0] for found in SERIES.finditer(specimen())]
    of_volumes = [name for name in series if name.startswith("thinpool_volume_")]

    assert len(series) - len(of_volumes) + OWN_SERIES <= GOAL_SERIES
    assert 0 < len(of_volumes) <= VOLUME_SERIES
