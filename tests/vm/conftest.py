"""Fixtures of the virtual machine: boot once, then every test starts from the same state."""

import os
import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.vm import docked as docked_host
from tests.vm import faults, payload, scenarios, units, versions
from tests.vm.guest import CONFIG, Guest
from tests.vm.image import cached_image, missing_tools
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool
from tests.vm.units import GUARD

READY = "ready"
UNITS = "units"
SMALL = Pool(data="400M", metadata="4M")
_HERE = Path(__file__).parent
# Covers the first use: building the image and the wheelhouse, and booting.
_TIMEOUT_SECONDS = 900
LINES_SHOWN = 25
_TESTED_ON = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --vm; seen only when tests/vm is on the command line, else use THINPOOL_VM=1."""
    parser.addoption("--vm", action="store_true", help="run the virtual machine's tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything below this folder, and skip it unless asked for."""
    reason = _reason_to_skip(config)
    for item in items:
        if _HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.vm)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TIMEOUT_SECONDS))
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def _reason_to_skip(config: pytest.Config) -> str:
    """Say why the tests cannot or should not run; under THINPOOL_REQUIRE_ALL they must."""
    if os.environ.get("THINPOOL_REQUIRE_ALL") == "1":
        return ""
    if not (config.getoption("--vm", default=False) or os.environ.get("THINPOOL_VM") == "1"):
        return "needs --vm or THINPOOL_VM=1"
    missing = missing_tools()
    return f"missing on this host: {', '.join(missing)}" if missing else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside a failure, show what the machine's services said; keep all its logs."""
    report = yield
    machine = getattr(item, "funcargs", {}).get("booted")
    if report.failed and isinstance(machine, Machine):
        name = re.sub(r"[^\w.-]+", "_", item.name)
        directory = Path(tempfile.mkdtemp(prefix=f"thinpool-logs-{name}-"))
        machine.collect_logs(directory)
        said = "\n".join(machine.said(LINES_SHOWN))
        report.sections.append((f"the machine, all of it in {directory}", said))
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what the machine was."""
    if tested_on := config.stash.get(_TESTED_ON, ""):
        terminalreporter.write_line(f"TESTED ON {tested_on}")


@pytest.fixture(scope="session")
def booted(pytestconfig: pytest.Config) -> Iterator[Machine]:
    """One machine with the present package installed, snapshot taken."""
    if missing := missing_tools():
        pytest.fail(f"missing on this host: {', '.join(missing)}")
    release = os.environ.get("THINPOOL_VM_RELEASE", "bookworm")
    with Machine(cached_image(release)) as machine:
        payload.install(machine)
        found = versions.in_short(versions.words(machine))
        pytestconfig.stash[_TESTED_ON] = f"{release}: {found}"
        machine.snapshot(READY)
        yield machine


@pytest.fixture
def machine(booted: Machine) -> Machine:
    """Give the machine as it was right after the installation: fresh disks, nothing running."""
    booted.restore(READY)
    return booted


@pytest.fixture(scope="session")
def units_kept(booted: Machine) -> str:
    """Start both units beside a pool that nobody else protects."""
    booted.restore(READY)
    faults.prepared(booted)
    scenarios.make_pool(booted, SMALL)
    scenarios.make_volume(booted, SMALL)
    docker = "collect: {docker_interval: 5s, docker_deadline: 15s}\n"
    booted.write(CONFIG, f"guard: {{anticipate: false}}\n{docker}")
    # Or systemd finds, after each restore, that nobody has fed its watchdog for so long.
    booted.use_steady_clock()
    units.start(booted)
    booted.snapshot(UNITS)
    return UNITS


@pytest.fixture
def served(booted: Machine, units_kept: str) -> Machine:
    """Return to where both have just become ready."""
    booted.restore(units_kept)
    return booted


@pytest.fixture
def web(served: Machine) -> Guest:
    """Ask the web side; its events are the guard's."""
    return Guest(served, GUARD)


def kept_with_devicemapper(machine: Machine, name: str, make: Callable[[Machine], None]) -> str:
    """Make a state that needs Docker's devicemapper, and keep it under this name."""
    if not machine.image.release.has_devicemapper:
        pytest.skip(f"Docker of {machine.image.release.name} has no devicemapper")
    machine.restore(READY)
    make(machine)
    machine.snapshot(name)
    return name


@pytest.fixture(scope="session")
def docked_kept(booted: Machine) -> str:
    """Make Docker's pool, with both units beside it."""
    return kept_with_devicemapper(booted, "docked", docked_host.make)


@pytest.fixture
def docked(booted: Machine, docked_kept: str) -> Machine:
    """Return to where Docker runs on a pool that is well."""
    booted.restore(docked_kept)
    return booted


@pytest.fixture
def guest(docked: Machine) -> Guest:
    """Ask the web side beside Docker; its events are the guard's."""
    return Guest(docked, GUARD)
