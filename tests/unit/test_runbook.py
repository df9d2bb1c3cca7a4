"""Runbooks as this host's pages: figures above, names filled in, and none of them does harm."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.collectors.families import printable
from exporter.model import PoolMode, PoolSource, Snapshot, ThinPool
from exporter.report.text import shown
from exporter.web.message import Request, Response
from exporter.web.runbook import MAX_POOLS, Runbooks, packaged_runbooks
from tests import runbooks
from tests.factories import make_kernel_pool, make_loop, make_policy, make_pool, make_snapshot
from tests.unit.test_status import Document, viewer

RULES = packaged_runbooks().parent
LOOP = make_loop(file="/var/lib/docker/a file", free_bytes=1)
ALERTS = sorted(set(re.findall(r"- alert: (\w+)", (RULES / "alerts.yaml").read_text())))
EVERY = [*ALERTS, runbooks.GENERAL]
POOL = "vg=docker&pool=thinpool"
# Words in capitals that belong to a command's own language, or to what it prints.
THEIR_OWN = {
    "ALERTS",
    "EOF",
    "POST",
    "NAME",
    "TYPE",
    "MOUNTPOINT",
    "STAT",
    "CONT",
    "USR1",
    "NR",
}
# A terminal that is pasted into gives what follows these to their question, or to a pager.
ASKING = re.compile(r"^(lvremove|vgextend|rm|docker \w+ prune)\b(?!.* -f\b)", re.MULTILINE)
PAGING = re.compile(r"(journalctl|systemctl (\S+ )*status)\b(?!.*--vacuum)")


def ask(name: str, query: str = "", snapshot: Snapshot | None = None) -> Response:
    """Ask for a runbook on a host."""
    shown_host = snapshot or make_snapshot()
    pages = Runbooks(packaged_runbooks(), viewer(lambda: shown_host))
    return pages(Request(method="GET", path=f"/runbooks/{name}", query=query))


def test_one_text_serves_every_pool() -> None:
    """It is made HTML once, and each page has the names of its own pool, and links for it."""
    both = make_snapshot(pools=tuple(make_pool(name=name) for name in ("one", "two")))
    pages = Runbooks(packaged_runbooks(), viewer(lambda: both))
    for name, other in (("one", "two"), ("two", "one"), ("one", "two")):
        query = f"vg=docker&pool={name}"
        path = "/runbooks/ThinPoolNotProtected"
        body = pages(Request(method="GET", path=path, query=query)).body.decode()

        assert f"docker/{name}" in body
        assert f"pool={name}" in body
        assert f"docker/{other}" not in body
        assert f"pool={other}" not in body


def commands(response: Response) -> str:
    """Read the blocks of commands below the figures."""
    blocks = runbooks.blocks_of_page(response.body.decode())
    assert blocks
    return "\n".join(block.text for block in blocks)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """Under the very name that runbook_url and host_page have."""
    assert runbooks.names() == ALERTS
    # What concerns all of them stands in one text, which each leads to.
    assert runbooks.source(runbooks.GENERAL)
    assert all(f"({runbooks.GENERAL}.md)" in runbooks.source(name) for name in ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_every_runbook_has_its_sections(name: str) -> None:
    """In the order in which somebody who is woken up needs them, and what to type."""
    source = runbooks.source(name)

    assert source.startswith("# ")
    assert tuple(re.findall(r"^## (.*)$", source, re.MULTILINE)) == runbooks.SECTIONS
    blocks = runbooks.blocks_of_markdown(source)
    assert {block.section for block in blocks} == {"Diagnosis", "Mitigation"}
    assert all(block.heading for block in blocks if block.section == "Mitigation")


@pytest.mark.parametrize("query", ["", POOL, "vg=docker", "vg=docker&pool=", "vg=&pool=x"])
@pytest.mark.parametrize("name", EVERY)
def test_every_runbook_is_a_page(name: str, query: str) -> None:
    """Whatever it is asked for, with all the blocks of the file."""
    answer = ask(name, query)

    assert answer.status == 200
    Document(answer)
    shown_blocks = runbooks.blocks_of_page(answer.body.decode())
    in_file = runbooks.blocks_of_markdown(runbooks.source(name))
    assert [block[:2] for block in shown_blocks] == [block[:2] for block in in_file]


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_left_that_nobody_can_fill_in(name: str) -> None:
    """On the page of a pool, but for what the reader alone can know."""
    pool = make_pool(kernel=make_kernel_pool(loop=LOOP))
    answer = ask(name, POOL, make_snapshot(pools=(pool,)))

    for block in runbooks.blocks_of_page(answer.body.decode()):
        capitals = set(re.findall(r"(?<![\w.$%])[A-Z][A-Z0-9_]+(?![\w.])", block.text))
        assert capitals <= {*runbooks.READER_S, *THEIR_OWN}, block


@pytest.mark.parametrize("name", EVERY)
def test_what_is_pasted_is_run_line_by_line(name: str) -> None:
    """What asks a question ends its block, and nothing opens a pager."""
    for block in runbooks.blocks_of_markdown(runbooks.source(name)):
        lines = block.text.rstrip().splitlines()
        assert not any(ASKING.search(line) for line in lines[:-1]), block
        for line in lines:
            assert "--no-pager" in line or not PAGING.search(line), line
        assert "seg_monitor" not in block.text  # it starts a dmeventd


HOSTILE = ("a b", "$(reboot)", "`reboot`", "x;reboot", "'", "a\nb", "-rf", "ü", "\\")


@pytest.mark.parametrize("bad", HOSTILE)
def test_a_shell_can_read_every_command(bad: str, tmp_path: Path) -> None:
    """Whatever the pool is called; bash parses all blocks of all runbooks."""
    pool = make_pool(vg_name=bad, name=bad, profile=bad)
    query = urlencode({"vg": printable(bad), "pool": printable(bad)})
    pages = [ask(name, query, make_snapshot(pools=(pool,))) for name in ALERTS]
    blocks = [b.text for page in pages for b in runbooks.blocks_of_page(page.body.decode())]
    script = tmp_path / "script"
    script.write_text("\n".join(blocks), encoding="utf-8", errors="surrogateescape")

    parsed = subprocess.run(
        ["bash", "-n", str(script)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (parsed.returncode, parsed.stderr) == (0, "")


def test_the_pool_s_figures_and_names_are_filled_in() -> None:
    """What the status page shows of it, and commands that can be pasted."""
    answer = ask("ThinPoolOutOfDataSpace", POOL)
    body = answer.body.decode()

    assert answer.status == 200
    # The article's layout has not the whole step, so what there is.
    assert "lvextend -L +616m docker/thinpool" in commands(answer)
    assert "dmsetup status --noflush docker-thinpool" in commands(answer)
    assert 'aria-label="data of docker/thinpool: ' in body
    assert body.index("docker/thinpool") < body.index("Meaning")


def test_what_lvm_adds_to_a_name_is_kept() -> None:
    """Its metadata, and what a repair leaves, are called after the pool."""
    text = commands(ask("ThinPoolNeedsCheck", POOL))

    assert "lvremove docker/thinpool_meta0" in text
    assert "lvchange -y -ay docker/thinpool_tmeta" in text
    assert "lvs --noheadings -o lv_full_name -S pool_lv=thinpool docker |" in text


def test_a_volume_group_s_runbook_shows_all_of_its_pools() -> None:
    """Its alert names no pool; the others' names would be a choice of ours."""
    other = make_pool(vg_name="other")
    answer = ask("ThinPoolVolumeGroupNearlyFull", "vg=docker&pool=", of(make_pool(), other))
    body = answer.body.decode()

    assert "docker/thinpool" in body
    assert "other/thinpool" not in body
    assert "vgextend docker /dev/NEW_DISK" in commands(answer)
    assert 'id="host"' not in body


def test_a_volume_group_without_pools_is_told() -> None:
    """It may have been renamed since."""
    answer = ask("ThinPoolVolumeGroupNearlyFull", "vg=gone&pool=")

    assert "There is no thin pool in the volume group gone on this host now." in (
        answer.body.decode()
    )


def test_what_is_about_docker_shows_its_pool() -> None:
    """Docker's own figures have no label of a pool, and the runbook has commands for it."""
    other = make_pool(vg_name="a", kernel=make_kernel_pool(dm_name="a-thinpool"))
    answer = ask("ThinPoolDockerMinFreeSpace", "", of(other, make_pool()))
    body = answer.body.decode()

    assert "lvextend -L +616m docker/thinpool" in commands(answer)
    assert 'id="host"' not in body
    assert "a/thinpool" not in body


def test_lvm_s_commands_are_not_for_other_pools() -> None:
    """The page says so, and leaves the names in them as they stand."""
    foreign = make_pool(
        vg_name="",
        lvm=None,
        source=PoolSource.DEVICE_MAPPER,
        kernel=make_kernel_pool(loop=LOOP),
    )
    answer = ask("ThinPoolOnLoopback", "vg=&pool=thinpool", of(foreign))

    assert "LVM did not make this pool" in answer.body.decode()
    assert "du -h '/var/lib/docker/a file'" in commands(answer)
    assert "dmsetup status --noflush docker-thinpool" in commands(answer)
    assert "VG/POOL" in commands(ask("ThinPoolFailed", "vg=&pool=thinpool", of(foreign)))


@pytest.mark.parametrize(
    ("profile", "expected"), [("docker", "docker"), (None, "vg-p"), ("../etc", "vg-p")]
)
def test_the_profile_is_the_pool_s_or_one_for_it(profile: str | None, expected: str) -> None:
    """What LVM would not take as a name leads nowhere else in the file system."""
    pool = make_pool(vg_name="vg", name="p", profile=profile)
    text = commands(ask("ThinPoolNotProtected", "vg=vg&pool=p", of(pool)))

    assert f"lvchange --metadataprofile {expected} vg/p" in text
    assert f"> /etc/lvm/profile/{expected}.profile" in text


def test_a_pool_without_policy_is_given_a_usual_step() -> None:
    """20 % of the data or what there is of it, and twice the metadata."""
    policy = make_policy(threshold_percent=100)
    pool = make_pool(policy=policy, effective_threshold_percent=100)
    text = commands(ask("ThinPoolAboveThreshold", POOL, of(pool)))

    assert "lvextend -L +616m docker/thinpool" in text
    assert "lvextend --poolmetadatasize +204m docker/thinpool" in text


def test_a_large_group_shows_its_most_urgent_pools() -> None:
    """The commands stay in sight; the status page has the others."""
    pools = [make_pool(name=f"pool{number}") for number in range(MAX_POOLS + 5)]
    bad = make_pool(name="bad", kernel=None, mode=PoolMode.INACTIVE)
    body = ask("ThinPoolVolumeGroupNearlyFull", "vg=docker", of(*pools, bad)).body.decode()

    assert body.count("<article") == MAX_POOLS
    assert "docker/bad" in body
    assert "6 more pools of this volume group" in body


def test_an_inactive_pool_keeps_its_kernel_s_name() -> None:
    """As LVM will call it: dashes are doubled."""
    pool = make_pool(vg_name="a-b", kernel=None, mode=PoolMode.INACTIVE)

    text = commands(ask("ThinPoolNeedsCheck", "vg=a-b&pool=thinpool", of(pool)))

    assert "dmsetup status --noflush a--b-thinpool" in text


def test_runbooks_lead_to_each_other() -> None:
    """For the same pool here; on other sites, from file to file."""
    links = Document(ask("ThinPoolReadOnly", "vg=docker&pool=a%26b")).values("href")

    assert "/runbooks/ThinPoolNeedsCheck?vg=docker&pool=a%26b" in links
    for name in ALERTS:
        targets = re.findall(r"\]\((\w+)\.md\)", runbooks.source(name))
        assert set(targets) <= set(EVERY)


def of(*pools: ThinPool) -> Snapshot:
    """Make a host with these pools."""
    return make_snapshot(pools=pools)


@pytest.mark.parametrize("query", ["", "a=" + "&a=".join("x" * 40)])
def test_without_a_pool_the_text_stands_as_it_is(query: str) -> None:
    """With the host's own figures above it."""
    answer = ask("ThinPoolOutOfDataSpace", query)

    assert "lvextend -L +DATA_STEP VG/POOL" in commands(answer)
    assert 'id="host"' in answer.body.decode()


def test_a_pool_that_is_not_there_any_more_is_told() -> None:
    """The text helps all the same."""
    answer = ask("ThinPoolOutOfDataSpace", "vg=docker&pool=gone")

    assert "There is no thin pool docker/gone on this host now." in answer.body.decode()
    assert "VG/POOL" in commands(answer)


@pytest.mark.parametrize(
    "name", ["", "None", "../README", "ThinPoolOutOfDataSpace.md", "%2e%2e"]
)
def test_other_names_are_not_found(name: str) -> None:
    """There are the texts of the folder, and nothing beside."""
    assert ask(name).status == 404


def test_no_folder_is_no_runbook(tmp_path: Path) -> None:
    """An installation without them answers as it does for any other path."""
    pages = Runbooks(tmp_path / "none", viewer(lambda: None))

    assert pages(Request(method="GET", path="/runbooks/ThinPoolNotProtected")).status == 404


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_can_be_pasted_and_does_nothing(vg_name: str, name: str) -> None:
    """A shell reads back the very name, and a browser sees text."""
    snapshot = make_snapshot(pools=(make_pool(vg_name=vg_name, name=name),))
    labels = {"vg": printable(vg_name), "pool": printable(name)}
    answer = ask("ThinPoolOutOfDataSpace", urlencode(labels), snapshot)

    document = Document(answer)
    assert [tag for tag, _ in document.tags].count("script") == 1
    if shown(vg_name) == vg_name and shown(name) == name:
        line = commands(answer).partition("lvextend -L +")[2]
        assert shlex.split(line.splitlines()[0])[1:] == [f"{vg_name}/{name}"]
