"""The status page in a real browser: what is seen, how it changes, who can use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_core_python.selenium import Axe
from msgspec.structs import replace
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from exporter.exposition import Exposition
from exporter.model import (
    Collector,
    Device,
    Filling,
    PastExtension,
    Snapshot,
    ThinPool,
)
from exporter.web.app import build_app
from exporter.web.server import WebServer
from tests import browser as chromium
from tests.end_to_end.program import Program
from tests.factories import (
    TAKEN_AT,
    make_collectors,
    make_failed_state,
    make_guard_report,
    make_kernel_pool,
    make_large_snapshot,
    make_pool,
    make_pool_guard,
    make_snapshot,
    make_status,
    make_usage,
)
from tests.golden.snapshots import SNAPSHOTS
from tests.waiting import wait_for

REFRESHED_SECONDS = 30.0  # the page asks every five
HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>'


@dataclass
class Site:
    """A web side in this process, whose Snapshot and clock the test sets."""

    snapshot: Snapshot | None = None
    now: float = TAKEN_AT
    fault: str = ""
    address: str = "127.0.0.1:0"
    server: WebServer = field(init=False)

    def start(self) -> None:
        """Serve, at the same address as the last time."""
        app = build_app(
            Exposition(lambda: self.snapshot, wall=lambda: self.now),
            lambda: self.snapshot,
            fault=lambda: self.fault,
            clock=lambda: self.now,
        )
        self.server = WebServer(app, [self.address])
        self.server.start()
        self.address = self.server.addresses[0]

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.address}/"


@pytest.fixture(scope="module")
def running() -> Iterator[Chrome]:
    """Start a browser once."""
    with chromium.chromium() as browser:
        yield browser


@pytest.fixture
def browser(running: Chrome) -> Iterator[Chrome]:
    """Give the browser; at the end it must have found nothing wrong."""
    chromium.show(running)
    running.get("about:blank")
    chromium.complaints(running)
    yield running
    assert chromium.complaints(running) == []


@pytest.fixture
def site() -> Iterator[Site]:
    """Return the article's host."""
    site = Site(make_snapshot())
    site.start()
    yield site
    site.server.stop()


def text(browser: Chrome, selector: str = "main") -> str:
    """Read what is seen of a part of the page."""
    return browser.find_element(By.CSS_SELECTOR, selector).text


def used(ratio: float) -> ThinPool:
    """Return docker/thinpool with so much of its data in use."""
    usage = make_usage()
    status = make_status(data=replace(usage, used_blocks=round(usage.total_blocks * ratio)))
    return make_pool(kernel=make_kernel_pool(status=status))


def until(fact: Callable[[], bool], what: str) -> None:
    """Wait until the page has changed by itself."""
    wait_for(lambda: fact() or None, seconds=REFRESHED_SECONDS, what=what)


def test_the_demo_is_shown(browser: Chrome, demo: Program) -> None:
    """Five pools, each with two bars; the simulation is told; nothing is loaded."""
    browser.get(f"http://{demo.address}/")

    assert "Simulated host." in text(browser)
    assert len(browser.find_elements(By.CSS_SELECTOR, "article.pool svg")) == 10
    assert "docker/thinpool" in text(browser, "table")
    loaded = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert loaded == 0


def test_bars_are_as_long_as_the_pool_is_full(browser: Chrome, site: Site) -> None:
    """To a pixel, and the threshold stands where it is."""
    site.snapshot = make_snapshot(pools=(used(0.37),))
    browser.get(site.url)

    bar = browser.find_element(By.CSS_SELECTOR, "svg")
    width = bar.rect["width"]
    assert child(bar, ".used").rect["width"] == pytest.approx(0.37 * width, abs=1.5)
    mark = child(bar, ".mark").rect
    assert mark["x"] + mark["width"] / 2 - bar.rect["x"] == pytest.approx(0.8 * width, abs=1.5)
    assert bar.accessible_name == "data of docker/thinpool: 37.00 % full, threshold 80 %"


def child(element: WebElement, selector: str) -> WebElement:
    """Find a part of an element."""
    return element.find_element(By.CSS_SELECTOR, selector)


def test_who_protects_it_when_it_is_full_and_what_was_done(browser: Chrome, site: Site) -> None:
    """In plain words."""
    guard = make_pool_guard(
        filling={
            Device.DATA: Filling(
                bytes_per_second=1024**2, lasted_seconds=60, seconds_until_full=7500
            )
        },
        last_extensions=(
            PastExtension(
                at=TAKEN_AT - 60,
                device=Device.DATA,
                before_bytes=1024**3,
                after_bytes=3 * 1024**3,
                is_anticipated=True,
            ),
        ),
    )
    report = make_guard_report(pools={"docker/thinpool": guard})
    site.snapshot = make_snapshot(pools=(used(0.5),), guard=report)
    browser.get(site.url)

    seen = text(browser)
    assert "protected by this guard (auto, pid 123)" in seen
    assert "gains 1.00 MiB/s: full in 2h 5m if nothing extends it" in seen
    assert "data by 2.00 GiB to 3.00 GiB, before the threshold, since it filled fast" in seen
    assert "the VG can give 616.00 MiB" in seen


def test_it_refreshes_itself_without_a_flicker(browser: Chrome, site: Site) -> None:
    """The document stays: what is focused, folded open and scrolled to is left alone."""
    browser.get(site.url)
    chromium.show(browser, height=300)
    browser.execute_script("""
        window.stays = true;
        window.kept = document.querySelector('article.pool');
        const details = document.querySelector('article.pool details');
        details.open = true;
        details.querySelector('summary').focus();
        window.scrollTo(0, 150);
    """)
    site.snapshot = make_snapshot(pools=(used(0.7777),), taken_at=TAKEN_AT + 1)
    until(lambda: "77.77 %" in text(browser), "the new figures")

    assert browser.execute_script("""
        return window.stays && window.scrollY === 150
            && window.kept === document.querySelector('article.pool')
            && document.querySelector('article.pool details').open
            && document.activeElement.tagName === 'SUMMARY';
    """)


def test_pools_come_and_go(browser: Chrome, site: Site) -> None:
    """Each keeps its place on the page, whatever comes before it."""
    browser.get(site.url)
    site.snapshot = make_large_snapshot(3)
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "article.pool")) == 4, "3 pools")
    rows = browser.find_elements(By.CSS_SELECTOR, "tbody th")
    names = [row.text for row in rows]
    assert names == sorted(names)

    site.snapshot = make_snapshot(pools=())
    until(lambda: "There are no thin pools on this host." in text(browser), "no pool")


def test_a_server_that_is_gone_is_told_and_forgotten(browser: Chrome, site: Site) -> None:
    """What is shown is marked as old; when it is back, the mark goes."""
    browser.get(site.url)
    assert not browser.find_element(By.ID, "refresh").is_displayed()
    site.server.stop()
    until(lambda: "Not refreshed since" in text(browser, "#refresh"), "the page is marked")

    assert "docker/thinpool" in text(browser)
    site.start()
    until(lambda: not browser.find_element(By.ID, "refresh").is_displayed(), "it is back")
    chromium.complaints(browser)  # that it could not connect


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"now": TAKEN_AT + 720}, "These figures are 12m old: the guard publishes nothing."),
        ({"fault": "no such file"}, "There are no newer figures than these, 0s old: no such"),
        (
            {"snapshot": make_snapshot(guard=make_guard_report(last_cycle_at=TAKEN_AT - 90))},
            "The guard has looked at no pool for 1m 30s: nobody extends them.",
        ),
    ],
)
def test_old_figures_are_called_old(
    browser: Chrome, site: Site, changes: dict[str, Any], words: str
) -> None:
    """And nobody is said to protect the pool who has not been heard of."""
    for name, value in changes.items():
        setattr(site, name, value)
    browser.get(site.url)

    assert words in text(browser, "[role=alert]:not([hidden])")
    assert "protected by" not in text(browser)
    assert browser.title.partition(":")[0] != "OK"


def test_nothing_has_been_read_yet(browser: Chrome, site: Site) -> None:
    """The page is there before the first Snapshot, and says so."""
    site.snapshot, site.fault = None, "cannot read snapshot.json"
    browser.get(site.url)

    assert "nothing has been read yet" in text(browser)
    assert "cannot read snapshot.json" in text(browser)


def test_a_host_that_cannot_be_read(browser: Chrome, site: Site) -> None:
    """No pools are not taken for a host without pools."""
    failed = make_failed_state(error="cannot open /dev/mapper/control: Permission denied")
    site.snapshot = make_snapshot(
        pools=(), volume_groups=(), collectors=make_collectors(device_mapper=failed)
    )
    browser.get(site.url)

    assert "No thin pool could be read" in text(browser)
    assert "Permission denied" in text(browser, "#host")
    assert browser.title.startswith("UNKNOWN")


def test_forty_pools(browser: Chrome, site: Site) -> None:
    """All of them in the table, and each a link to its own part."""
    site.snapshot = make_large_snapshot(40)
    browser.get(site.url)

    links = browser.find_elements(By.CSS_SELECTOR, "tbody th a")
    assert len(links) == 40
    links[33].click()
    name = links[33].text
    top = browser.execute_script("return document.querySelector(':target h2').innerText")
    assert top.startswith(name)
    assert browser.execute_script("return document.querySelector(':target').offsetTop") > 900


@pytest.mark.parametrize(
    "name", [HOSTILE, "a b", "%2F", "é\udcff\ud800", "\u202egnp", "x" * 300]
)
def test_names_are_shown_and_do_nothing(browser: Chrome, site: Site, name: str) -> None:
    """Whatever a device is called."""
    pools = (make_pool(vg_name="", name=name), make_pool(vg_name=name, name="'\"&<"))
    site.snapshot = make_snapshot(pools=pools)
    browser.get(site.url)

    assert "owned" not in browser.title
    assert len(browser.find_elements(By.CSS_SELECTOR, "article.pool")) == 3
    browser.find_element(By.CSS_SELECTOR, "tbody th a").click()
    assert browser.execute_script("return document.querySelector(':target') !== null")
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert browser.execute_script(fits)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["many", "failed", "hostile", "unknown", "loopback"])
def test_everybody_can_use_it(browser: Chrome, site: Site, name: str, scheme: str) -> None:
    """Axe finds nothing: contrast, roles, names, order, in light and in dark."""
    chromium.show(browser, scheme=scheme)
    site.snapshot = SNAPSHOTS[name]()
    browser.get(site.url)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")

    violations = Axe().run(browser)["violations"]

    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in violations] == []


def test_dark_is_dark(browser: Chrome, site: Site) -> None:
    """The page follows what the reader has chosen."""
    background = "return getComputedStyle(document.body).backgroundColor"
    browser.get(site.url)
    light = browser.execute_script(background)
    chromium.show(browser, scheme="dark")

    assert light == "rgb(255, 255, 255)"
    assert browser.execute_script(background) == "rgb(23, 24, 27)"


def test_by_keyboard(browser: Chrome, site: Site) -> None:
    """The first stop leads to the pools; what is folded opens with a key."""
    browser.get(site.url)
    page = browser.find_element(By.TAG_NAME, "body")
    page.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "To the pools"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    browser.switch_to.active_element.send_keys(Keys.TAB)

    summary = browser.switch_to.active_element
    assert summary.tag_name == "summary"
    details = child(browser.find_element(By.ID, "pools"), "details")
    was_open = details.get_attribute("open")
    summary.send_keys(Keys.ENTER)
    assert details.get_attribute("open") != was_open


@pytest.mark.parametrize("width", [320, 480, 1600])
def test_it_fits_the_screen(browser: Chrome, site: Site, width: int) -> None:
    """From a phone to a wall: nothing sticks out sideways."""
    chromium.show(browser, width=width)
    site.snapshot = SNAPSHOTS["many"]()
    browser.get(site.url)

    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_without_script_it_still_refreshes(browser: Chrome, site: Site) -> None:
    """By the browser's own means."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(site.url)
        (refresh,) = browser.find_elements(By.CSS_SELECTOR, "meta[http-equiv=refresh]")
        assert refresh.get_attribute("content") == "15"
        assert "docker/thinpool" in text(browser)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_collectors_are_told_with_their_age(browser: Chrome, site: Site) -> None:
    """A source that fails leaves its last good figures, and how old they are."""
    failed = make_failed_state(error="timed out", succeeded_at=TAKEN_AT - 300)
    site.snapshot = make_snapshot(collectors=make_collectors(**{Collector.LVM.value: failed}))
    browser.get(site.url)

    assert "LVM cannot be read: timed out; last read 5m ago" in text(browser, "#host")
