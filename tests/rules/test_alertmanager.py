"""The example of an Alertmanager's configuration: who hears of what, and what inhibits what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.alertmanager import EXAMPLE, alerts, amtool, hurried, post, running
from tests.programs import Edition
from tests.waiting import eventually

Labels = Mapping[str, str]


def of_host(name: str, severity: str = "warning", instance: str = "a:10128") -> Labels:
    """Give an alert's labels, without a pool."""
    return {"alertname": name, "severity": severity, "job": "thinpool", "instance": instance}


def of_pool(
    name: str,
    severity: str = "warning",
    *,
    instance: str = "a:10128",
    vg: str = "docker",
    pool: str = "thinpool",
) -> Labels:
    """Give an alert's labels; LVM's label is left out where it is empty, as Prometheus does."""
    labels = {**of_host(name, severity, instance), "vg": vg, "pool": pool}
    return {key: value for key, value in labels.items() if value}


def test_amtool_accepts_it(edition: Edition) -> None:
    """Three receivers, and every matcher understood."""
    status, said = amtool("check-config", str(EXAMPLE), edition=edition)

    assert status == 0, said
    assert "10 inhibit rules" in said
    assert "3 receivers" in said


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (of_pool("ThinPoolFailed", "critical"), "pages"),
        (of_host("ThinPoolGuardStale", "critical"), "pages"),
        ({"alertname": "ThinPoolExportersDown", "severity": "critical"}, "pages"),
        (of_pool("ThinPoolNotProtected"), "tickets"),
        (of_host("ThinPoolExporterDown"), "tickets"),
        (of_host("ThinPoolMaintenance", "none"), "nobody"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["alertname"],
)
def test_routes(labels: Labels, receiver: str, edition: Edition) -> None:
    """Critical is a page, everything else a ticket."""
    words = [f"{key}={value}" for key, value in labels.items()]
    flags = (f"--config.file={EXAMPLE}", f"--verify.receivers={receiver}")
    status, said = amtool("config", "routes", "test", *flags, *words, edition=edition)

    assert status == 0, said


FULL = of_pool("ThinPoolOutOfDataSpace", "critical")
FOREIGN = of_pool("ThinPoolAboveThreshold", "critical", vg="", pool="docker-253:0-pool")
DOWN = of_host("ThinPoolExporterDown")
MANY_DOWN = {"alertname": "ThinPoolExportersDown", "severity": "critical", "job": "thinpool"}
OTHER_JOB = {**of_host("ThinPoolExporterDown", instance="x:10128"), "job": "other"}
INHIBITED: dict[str, tuple[Labels, list[Labels], list[Labels]]] = {
    # The source, what it inhibits, and what it must not.
    "page_over_tickets_of_its_pool": (
        FULL,
        [
            of_pool("ThinPoolAboveThreshold"),
            of_pool("ThinPoolAboveThreshold", "critical"),
            of_pool("ThinPoolNextExtensionImpossible"),
            of_host("ThinPoolDockerDown"),
            {**of_host("ThinPoolVolumeGroupNearlyFull"), "vg": "docker"},
        ],
        [
            of_pool("ThinPoolAboveThreshold", pool="other"),
            of_pool("ThinPoolAboveThreshold", vg="other"),
            of_pool("ThinPoolAboveThreshold", vg=""),
            of_pool("ThinPoolAboveThreshold", instance="b:10128"),
            {**of_pool("ThinPoolAboveThreshold"), "job": "other"},
            {**of_pool("ThinPoolAboveThreshold"), "cluster": "other"},
            of_pool("ThinPoolNeedsCheck", "critical"),
            of_host("ThinPoolGuardErrors"),
            {**of_pool("SomebodyElsesAlert")},
        ],
    ),
    "the_worst_of_a_broken_pool_is_paged": (
        of_pool("ThinPoolFailed", "critical"),
        [
            of_pool("ThinPoolNeedsCheck", "critical"),
            of_pool("ThinPoolReadOnly", "critical"),
            of_pool("ThinPoolDataFillingUp", "critical"),
        ],
        [
            of_pool("ThinPoolReadOnly", "critical", pool="other"),
            of_pool("ThinPoolLoopBackingFull", "critical"),
        ],
    ),
    "maintenance_over_what_it_causes": (
        of_host("ThinPoolMaintenance", "none"),
        [
            of_host("ThinPoolGuardStale", "critical"),
            of_host("ThinPoolHostLost", "critical"),
            of_host("ThinPoolExporterDown"),
            of_pool("ThinPoolNotProtected"),
            of_pool("ThinPoolInactive", "critical"),
            of_pool("ThinPoolExtensionFailing", "critical"),
        ],
        [
            of_pool("ThinPoolOutOfDataSpace", "critical", pool="full"),
            of_pool("ThinPoolFailed", "critical", pool="failed"),
            of_pool("ThinPoolNeedsCheck", "critical", pool="broken"),
            of_pool("ThinPoolDataFillingUp", "critical", pool="filling"),
            of_host("ThinPoolGuardStale", "critical", "b:10128"),
        ],
    ),
    "a_page_about_a_lost_host_over_its_ticket": (
        of_host("ThinPoolHostLost", "critical"),
        [of_host("ThinPoolExporterDown")],
        [of_host("ThinPoolExporterDown", instance="b:10128"), FULL],
    ),
    "page_over_tickets_of_a_pool_without_vg": (
        FOREIGN,
        [of_pool("ThinPoolOnLoopback", vg="", pool="docker-253:0-pool")],
        [
            of_pool("ThinPoolOnLoopback", vg="", pool="other"),
            of_pool("ThinPoolOnLoopback", vg="docker", pool="docker-253:0-pool"),
            of_host("ThinPoolDockerDown"),
        ],
    ),
    "page_of_a_host_over_no_pool": (
        of_host("ThinPoolGuardStale", "critical"),
        [{**of_host("ThinPoolCollectorStale"), "collector": "lvm"}],
        [
            of_pool("ThinPoolAboveThreshold"),
            of_host("ThinPoolCollectorStale", instance="b:10128"),
            of_host("ThinPoolConfigReloadFailed"),
        ],
    ),
    "host_out_of_reach_over_its_tickets": (
        DOWN,
        [
            of_pool("ThinPoolAboveThreshold", pool="other"),
            of_host("ThinPoolGuardErrors"),
        ],
        [
            FULL,  # it is why this host must not be forgotten
            of_pool("ThinPoolOutOfDataSpace", "critical", instance="b:10128"),
            of_host("ThinPoolDockerDown", instance="c:10128"),
            {**FULL, "job": "other"},
            of_host("SomebodyElsesAlert"),
        ],
    ),
    "fleet_out_of_reach_over_its_hosts_tickets_alone": (
        MANY_DOWN,
        # A ticket that is inhibited itself goes on to inhibit what its host said.
        [
            DOWN,
            of_host("ThinPoolDockerDown"),
            of_host("ThinPoolExporterDown", instance="b:10128"),
        ],
        [FULL, of_pool("ThinPoolOutOfDataSpace", "critical", instance="c:10128"), OTHER_JOB],
    ),
}


@pytest.mark.parametrize("name", INHIBITED)
def test_inhibits_exactly_what_it_should(name: str, tmp_path: Path, edition: Edition) -> None:
    """By the real Alertmanager's word, once its inhibitor has taken in what was posted."""
    source, inhibited, others = INHIBITED[name]
    posted = [source, *inhibited, *others]
    expected = {
        frozenset(source.items()): False,
        **{frozenset(labels.items()): True for labels in inhibited},
        **{frozenset(labels.items()): False for labels in others},
    }
    with running(tmp_path / "alertmanager", hurried("http://127.0.0.1:1"), edition) as manager:
        post(manager, posted)

        def is_taken_in() -> bool:
            found = verdicts(manager)
            return all(found.get(frozenset(labels.items())) for labels in inhibited)

        eventually(is_taken_in)
        assert verdicts(manager) == expected


def verdicts(manager: str) -> dict[frozenset[tuple[str, str]], bool]:
    """Ask which alerts are inhibited."""
    return {
        frozenset(alert["labels"].items()): bool(alert["status"]["inhibitedBy"])
        for alert in alerts(manager)
    }
