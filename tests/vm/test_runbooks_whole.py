"""Nothing stands in a runbook that has not been typed; the last of these files, by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import runbooks
from tests.vm.runbook import ran

pytestmark = pytest.mark.campaign

# By the beginning of the block: why nothing types it.
NOT_TYPED = {
    "apt-get install -y thin-provisioning-tools ||": "the machine has no network",
    "python -m rules.builder --out /etc/prometheus/rules": "it writes to the tests' own /etc",
    "amtool silence add alertname=ThinPoolTargetsLost": "its own file names Alertmanager",
}


def test_every_block_has_been_typed(request: pytest.FixtureRequest) -> None:
    """In the state that it is for, by a test of this run."""
    here = Path(__file__).parent
    others = (here / "test_paging.py", here / "test_odd_hosts.py")
    files = {path.name for path in (*here.glob("test_runbooks*.py"), *others)}
    present = {item.path.name for item in request.session.items}
    if not files <= present:
        pytest.skip("only a part of the tests that type them is run")

    left = [
        f"{name}, {block.section} {block.heading}: {block.text}"
        for name in (*runbooks.names(), runbooks.GENERAL)
        for block in runbooks.blocks_of_markdown(runbooks.source(name))
        if block.text not in ran and not block.text.startswith(tuple(NOT_TYPED))
    ]
    assert left == []
