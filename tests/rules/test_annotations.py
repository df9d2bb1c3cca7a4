"""What a page says: for each alert, and for names that are not fit for a URL as they are."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from exporter.guard.ledger import RESPONSIBLE
from exporter.model import Reason
from tests.rules.case import Case
from tests.rules.cases import CASES
from tests.rules.healthy import POOL, Names, Value, timeline
from tests.rules.more_cases import MORE
from tests.rules.pages import NAMES, Said
from tests.rules.promtool import Test, got, groups, hold
from tests.rules.test_alerts import labels_of

PLAIN = Names()
HOSTILE = Names(instance="[2001:db8::1]:10128", vg="vg--with-dash", pool='a b&c="d"+%/é')
# LVM does not make it: it has no volume group, and so no such label.
BARE = Names(vg="", pool="docker-253:0-201549152-pool")
RUNBOOKS = "https://github.com/thinpool-exporter/thinpool-exporter/blob/main/rules/runbooks"
# Each alert once with each of its labels.
SAYING = list({case.id: case for case in (*MORE, *CASES)}.values())
SAID = Said()


def links(case: Case, names: Names) -> dict[str, str]:
    """Build the links that the alert must have."""
    host = {"var-job": names.job, "var-instance": names.instance}
    vg, pool = {"vg": names.vg}, {"pool": names.pool}
    query = {"host": {}, "vg": vg, "pool": {**vg, **pool}}[case.of]
    variables = {**host, **{f"var-{name}": value for name, value in query.items()}}
    return {
        "runbook_url": f"{RUNBOOKS}/{case.alert}.md",
        "host_page": f"http://{names.instance}/runbooks/{case.alert}{_query('?', query)}",
        "dashboard": f"http://grafana/d/thinpool-host{_query('?', variables)}",
    }


def _query(begin: str, values: dict[str, str]) -> str:
    pairs = "&".join(f"{name}={quote_plus(value)}" for name, value in values.items())
    return begin + pairs if pairs else ""


def page(case: Case, names: Names, minute: int, description: str = "") -> Test:
    """Expect the alert with exactly these annotations; by default those of pages.txt."""
    summary, text = SAID.of(case, names)
    labels = {name: value for name, value in labels_of(case, names).items() if value}
    del labels["alertname"]
    annotations = {
        "summary": summary,
        "description": description or text,
        **links(case, names),
    }
    alert = {"exp_labels": labels, "exp_annotations": annotations}
    return {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": [alert]}


@pytest.fixture(scope="module", autouse=True)
def said_anew(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Write pages.txt anew if that is asked for."""
    if os.environ.get("UPDATE_GOLDEN") != "1":
        return
    for case in SAYING:
        minute = case.before + case.fires
        series = timeline(
            NAMES, (case.before, {}), (case.fires + 1, case.bad), always=case.always
        )
        directory = tmp_path_factory.mktemp("said")
        alert = (case.alert, case.severity)
        SAID.learn(case, got(directory, series, *alert, minute, every=case.step))
    SAID.write()


FIRST_OF_EACH = {case.of: case for case in reversed(CASES)}.values()


@pytest.mark.parametrize(
    ("case", "names"),
    [*((case, HOSTILE) for case in SAYING), *((case, PLAIN) for case in FIRST_OF_EACH)],
    ids=lambda value: value.id if isinstance(value, Case) else value.vg,
)
def test_says_what_is_wrong_and_where_to_go(case: Case, names: Names, tmp_path: Path) -> None:
    """Summary, description with its figures, runbook and dashboard, to the letter."""
    series = timeline(names, (case.before, {}), (case.fires + 1, case.bad), always=case.always)
    minute = case.before + case.fires
    hold(tmp_path, series, page(case, names, minute), every=case.step)


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
    "no_space": (
        {
            **UNGUARDED,
            **WATCHED,
            **SHORT,
            'thinpool_guard_state{reason="below_threshold"}': None,
            'thinpool_guard_state{reason="no_space"}': 1,
        },
        "its volume group has nothing left",
    ),
    "not_monitored": (
        {**OBSERVED, "thinpool_dmeventd_up": 1},
        "the guard only observes it, and dmeventd does not monitor it",
    ),
    "does_not_fit": (
        {**OBSERVED, **WATCHED, **SHORT},
        (
            "the guard only observes it, and dmeventd gives nothing, because its next step "
            "does not fit as a whole"
        ),
    ),
    "unknown": (
        {**OBSERVED, "thinpool_monitored": None, "thinpool_dmeventd_up": None},
        "the guard only observes it, and whether dmeventd monitors it is unknown",
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
        "LVM cannot read the profile that the pool names, and never extends it without one",
    ),
}


def not_protected(why: str, names: Names = PLAIN) -> str:
    """Write the description with this reason."""
    begin, _, rest = SAID.of(NOT_PROTECTED, names)[1].partition(": ")
    return f"{begin}: {why}. {rest[rest.index('First:') :]}"


@pytest.mark.parametrize("why", WHY)
def test_not_protected_says_why(why: str, tmp_path: Path) -> None:
    """In plain words, from the series of a host in that state."""
    changes, text = WHY[why]
    series = timeline(PLAIN, (5, {}), (17, changes))
    hold(tmp_path, series, page(NOT_PROTECTED, PLAIN, 21, not_protected(text)))


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
    why = "it does not belong to LVM, so lvextend cannot extend it"
    text = not_protected(why, BARE).partition("First:")[0] + "First: thinpool-exporter check"
    hold(
        tmp_path,
        timeline(BARE, (5, {}), (17, changes)),
        page(NOT_PROTECTED, BARE, 21, text),
    )
