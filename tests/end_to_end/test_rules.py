"""Every rule, in a real Prometheus that scrapes the demo."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.end_to_end.program import Program
from tests.programs import Edition
from tests.prometheus import scraping
from tests.rules.promtool import groups, shortened
from tests.waiting import PATIENCE_SECONDS, wait_for


def rules_of(prometheus: str) -> list[dict[str, Any]]:
    """Ask how the rules fare."""
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=10) as page:
            found = json.load(page)["data"]["groups"]
    except OSError:
        return []
    return [rule for group in found for rule in group["rules"]]


def test_every_rule_can_be_evaluated(demo: Program, tmp_path: Path, edition: Edition) -> None:
    """On five pools at once: what matches many to many fails only with data."""
    expected = sum(len(group["rules"]) for group in groups())

    def evaluated() -> list[dict[str, Any]] | None:
        """Give the rules, once each has run on a scrape."""
        rules = rules_of(prometheus)
        has_data = any(rule["health"] == "ok" and rule.get("alerts") for rule in rules)
        is_done = len(rules) == expected and has_data
        return rules if is_done and all(rule["health"] != "unknown" for rule in rules) else None

    more = {"rule_files": shortened(tmp_path)}
    with scraping(demo.address, tmp_path, more, edition) as prometheus:
        rules = wait_for(evaluated, seconds=2 * PATIENCE_SECONDS, what="all rules evaluated")

    assert [
        (rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"
    ] == []
