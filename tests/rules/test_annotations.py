"""What a page says: for each alert, and for names that are not fit for a URL as they are."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote_plus

import pytest

from exporter.guard.ledger import RESPONSIBLE
from exporter.model import Reason
from tests.rules.case import Case
from tests.rules.cases import CASES
from tests.rules.healthy import POOL, Names, Value, timeline
from tests.rules.promtool import Test, groups, hold
from tests.rules.test_alerts import labels_of

PLAIN = Names()
HOSTILE = Names(instance="[2001:db8::1]:10128", vg="vg--with-dash", pool='a b&c="d"+%/é')
# LVM does not make it: it has no volume group, and so no such label.
BARE = Names(vg="", pool="docker-253:0-201549152-pool")
FLEET = "https://github.com/thinpool-exporter/thinpool-exporter/blob/main/rules/runbooks"


def links(case: Case, names: Names) -> dict[str, str]:
    """Build the links that the alert must have."""
    host = {"var-job": names.job, "var-instance": names.instance}
    vg, pool = {"vg": names.vg}, {"pool": names.pool}
    query = {"host": {}, "vg": vg, "pool": {**vg, **pool}}[case.of]
    runbook = f"http://{names.instance}/runbooks/{case.alert}{_query('?', query)}"
    if case.alert == "ThinPoolExporterDown":
        runbook = f"{FLEET}/{case.alert}.md"
    variables = {**host, **{f"var-{name}": value for name, value in query.items()}}
    return {
        "runbook_url": runbook,
        "dashboard": f"http://grafana/d/thinpool-host{_query('?', variables)}",
    }


def _query(begin: str, values: dict[str, str]) -> str:
    pairs = "&".join(f"{name}={quote_plus(value)}" for name, value in values.items())
    return begin + pairs if pairs else ""


def page(case: Case, names: Names, minute: int, text: str) -> Test:
    """Expect the alert with exactly these annotations."""
    words = {
        "pool": f"{names.vg}/{names.pool} on {names.instance}",
        "vg": f"{names.vg} on {names.instance}",
        "host": names.instance,
    }
    labels = {name: value for name, value in labels_of(case, names).items() if value}
    del labels["alertname"]
    annotations = {
        "summary": case.summary,
        "description": text.format(**words),
        **links(case, names),
    }
    alert = {"exp_labels": labels, "exp_annotations": annotations}
    return {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": [alert]}


FIRST_OF_EACH = {case.of: case for case in reversed(CASES)}.values()


@pytest.mark.parametrize(
    ("case", "names"),
    [*((case, HOSTILE) for case in CASES), *((case, PLAIN) for case in FIRST_OF_EACH)],
    ids=lambda value: value.id if isinstance(value, Case) else value.vg,
)
def test_says_what_is_wrong_and_where_to_go(case: Case, names: Names, tmp_path: Path) -> None:
    """Summary, description with its figures, runbook and dashboard, to the letter."""
    series = timeline(names, (case.before, {}), (case.fires + 1, case.bad), always=case.always)
    minute = case.before + case.fires
    hold(tmp_path, series, page(case, names, minute, case.text), every=case.step)


NOT_PROTECTED = next(case for case in CASES if case.alert == "ThinPoolNotProtected")
UNGUARDED: dict[str, Value] = {"thinpool_guard_responsible": 0}
# Where the guard reports nothing, as `collect` does.
NO_GUARD: dict[str, Value] = {
    name: None for name in POOL if "_guard_" in name or "_next_" in name
}
WATCHED: dict[str, Value] = {"thinpool_monitored": 1, "thinpool_dmeventd_up": 1}
SHORT: dict[str, Value] = {'thinpool_next_extend_possible_bytes{device="data"}': 1}
OBSERVED: dict[str, Value] = {**UNGUARDED, 'thinpool_guard_mode{mode="observe"}': 1}
WHY: dict[str, tuple[dict[str, Value], str]] = {
    "no_guard": (NO_GUARD, "no guard watches it, and dmeventd does not run"),
    "not_monitored": (
        {**OBSERVED, "thinpool_dmeventd_up": 1},
        "the guard only observes it, and dmeventd does not monitor it",
    ),
    "does_not_fit": (
        {**OBSERVED, **WATCHED, **SHORT},
        (
            "the guard only observes it, and its next step does not fit as a whole, "
            "so that dmeventd gives nothing"
        ),
    ),
    "unknown": (
        {**OBSERVED, "thinpool_monitored": None, "thinpool_dmeventd_up": None},
        "the guard only observes it, and nobody can tell whether dmeventd monitors it",
    ),
    "internal_error": (
        {
            **UNGUARDED,
            'thinpool_guard_state{reason="below_threshold"}': None,
            'thinpool_guard_state{reason="internal_error"}': 1,
        },
        ("the guard met an internal error, which its journal names, and dmeventd does not run"),
    ),
    "policy_off": (
        {**UNGUARDED, **WATCHED, "thinpool_autoextend_threshold_ratio": 1},
        "LVM's policy never extends it (its threshold is 100 %)",
    ),
    "profile_missing": (
        {**UNGUARDED, "thinpool_autoextend_threshold_ratio": 1, "thinpool_profile_missing": 1},
        "LVM cannot read the profile that it names, and never extends it without",
    ),
}


@pytest.mark.parametrize("why", WHY)
def test_not_protected_says_why(why: str, tmp_path: Path) -> None:
    """In plain words, from the series of a host in that state."""
    changes, text = WHY[why]
    series = timeline(PLAIN, (5, {}), (17, changes))
    begin = NOT_PROTECTED.text.partition(": ")[0]
    hold(tmp_path, series, page(NOT_PROTECTED, PLAIN, 21, f"{begin}: {text}."))


# These have alerts of their own.
BROKEN = {Reason.FAILED, Reason.INACTIVE, Reason.NEEDS_CHECK, Reason.READ_ONLY}
PROTECTING = {*RESPONSIBLE, Reason.DMEVENTD_MONITORS, *BROKEN}


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in PROTECTING])
def test_not_protected_has_words_for_every_reason(reason: Reason) -> None:
    """A reason that the guard learns must not reach people as it is."""
    texts = [
        rule["annotations"]["description"]
        for group in groups()
        for rule in group["rules"]
        if rule.get("alert") == "ThinPoolNotProtected"
    ]

    assert f'eq $reason "{reason}" }}}}' in texts[0]


def test_a_pool_without_a_volume_group_is_named_too(tmp_path: Path) -> None:
    """LVM does not make every pool, and Prometheus leaves out a label that is empty."""
    changes: dict[str, Value] = {
        **UNGUARDED,
        **{name: None for name in POOL if "_next_" in name or "autoextend" in name},
        'thinpool_guard_state{reason="below_threshold"}': None,
        'thinpool_guard_state{reason="not_lvm"}': 1,
    }
    begin = NOT_PROTECTED.text.partition(": ")[0]
    text = f"{begin}: it is not LVM's, and nobody can extend it by LVM."
    hold(
        tmp_path,
        timeline(BARE, (5, {}), (17, changes)),
        page(NOT_PROTECTED, BARE, 21, text),
    )
