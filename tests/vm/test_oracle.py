"""LVM parity: what we decide, beside what the real `lvextend --use-policies` does."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.vm import oracle
from tests.vm.conftest import READY
from tests.vm.machine import Machine
from tests.vm.oracle_guest import Combination

# The first test waits for the campaign.
pytestmark = pytest.mark.timeout(oracle.CAMPAIGN_SECONDS)

LEAST = (
    {"combinations": 400, "carried out": 20}
    if oracle.is_full()
    else {
        "combinations": 80,
        "carried out": 20,
    }
)


@pytest.fixture(scope="module")
def campaign(booted: Machine) -> list[Combination]:
    """Run the whole campaign once."""
    booted.restore(READY)
    combinations = oracle.run(booted, oracle.pools())
    print(f"\nLVM parity: {dict(counts(combinations))}")  # noqa: T201 - for the log of a run
    return combinations


def counts(combinations: list[Combination]) -> Counter[str]:
    """Count what the campaign has seen."""
    seen: Counter[str] = Counter()
    for tried in combinations:
        data, metadata = growth(tried)
        facts = {
            "combinations": True,
            "carried out": bool(tried.real) and bool(data or metadata),
            "refused by LVM, clamped by us": tried.lvm.status
            and tried.reason in oracle.CLAMPED,
            "refused by both": tried.lvm.status and tried.reason == "policy_step_zero",
            "exactly at the threshold": is_at_threshold(tried),
            "data alone": data and not metadata,
            "metadata alone": metadata and not data,
            "both": data and metadata,
            "neither": not data and not metadata,
            f"{tried.stripes} stripes": data,
            "more than the policy's percent": data * 100
            > (tried.percent + 1) * tried.before.data,
        }
        seen.update(fact for fact, is_so in facts.items() if is_so)
    return seen


def growth(tried: Combination) -> tuple[int, int]:
    """Count the extents by which LVM extends data and metadata; none if it refuses."""
    if tried.lvm.status:
        return 0, 0
    return tried.lvm.data - tried.before.data, tried.lvm.metadata - tried.before.metadata


def is_at_threshold(tried: Combination) -> bool:
    """Whether the data usage is the threshold to the chunk."""
    return tried.data_used * 100 == tried.threshold * tried.data_total


def test_we_decide_what_lvm_does(campaign: list[Combination]) -> None:
    """To the extent, in every combination that LVM accepts; tried and carried out."""
    lines = oracle.differences(campaign)

    table = "\n".join(lines)
    assert not lines, f"{len(lines)} of {len(campaign)} combinations differ:\n{table}"


def test_the_campaign_is_worth_its_name(campaign: list[Combination]) -> None:
    """Every kind of outcome was reached, and often enough: else the first test is empty."""
    seen = counts(campaign)

    assert {name: seen[name] for name, least in LEAST.items() if seen[name] < least} == {}
    kinds = ("data alone", "metadata alone", "both", "neither", "exactly at the threshold")
    stripes = ("1 stripes", "2 stripes", "3 stripes", "more than the policy's percent")
    refusals = ("refused by LVM, clamped by us", "refused by both")
    assert [kind for kind in (*kinds, *stripes, *refusals) if not seen[kind]] == []


def test_what_lvm_refuses_we_give_in_part(campaign: list[Combination]) -> None:
    """Where the VG has no room for the whole step, never more than LVM would have added."""
    clamped = [tried for tried in campaign if tried.reason == "extend_clamped"]

    assert clamped
    assert [oracle.describe(tried) for tried in clamped if tried.lvm.status == 0] == []
