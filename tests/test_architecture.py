"""The import directions that keep the house liveable, held by reading the code."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "exporter"

# Each part may import only from parts above it (style: host → records → Snapshot → …).
ORDER = (
    "errors",
    "events",
    "dm_names",
    "model",
    "bulkhead",
    "thread_pool",
    "staleness",
    "units",
    "textfile",
    "autoextend",
    "fill",
    "growth",
    "naming",
    "volumes",
    "placement",
    "config",
    "command",
    "devmapper",
    "sources",
    "snapshot",
    "collection",
    "policy",
    "manner",
    "extend",
    "hooks",
    "guard",
    "watch",
    "residence",
    "schedule",
    "collectors",
    "exposition",
    "publish",
    "maintenance",
    "notify",
    "report",
    "web",
    "simulation",
    "log",
    "service",
    "cli",
    "__main__",
)
# Pure parts: what they may import beside the standard library's harmless modules.
PURE = {
    "policy": {"model", "errors", "autoextend"},
    "autoextend": {"model", "errors"},
    "fill": {"model", "errors"},
    "collectors": {"model", "errors", "bulkhead", "staleness"},
    "staleness": {"model"},
    "volumes": {"model", "errors", "dm_names", "growth"},
    "growth": {"model", "errors", "fill"},
    "placement": {"model"},
    "snapshot": {
        *("model", "errors", "autoextend", "placement"),
        *("dm_names", "growth", "volumes", "bulkhead"),
    },
}
IMPURE_MODULES = {"os", "time", "subprocess", "logging", "structlog", "socket", "threading"}


def parts() -> list[str]:
    """List the modules and packages of the program."""
    names = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    return sorted(names | {path.parent.name for path in ROOT.glob("*/__init__.py")})


def files(part: str) -> list[Path]:
    """List the files of one part."""
    package = ROOT / part
    return sorted(package.rglob("*.py")) if package.is_dir() else [ROOT / f"{part}.py"]


def imports(part: str) -> Iterator[str]:
    """Name every module that a part imports, at any depth of its functions."""
    for path in files(part):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module == "exporter":
                yield from (f"exporter.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module


def own_imports(part: str) -> set[str]:
    """Name the parts of the program that a part imports."""
    names = (name.split(".") for name in imports(part))
    found = {name[1] for name in names if name[0] == "exporter" and len(name) > 1}
    return found - {part, "__version__"}


def test_every_part_has_its_place() -> None:
    """A new module is put into the order on purpose."""
    assert parts() == sorted(ORDER)


@pytest.mark.parametrize("part", ORDER)
def test_a_part_imports_only_from_parts_above_it(part: str) -> None:
    """The data flows one way, and so do the imports."""
    above = set(ORDER[: ORDER.index(part)])

    assert own_imports(part) <= above


@pytest.mark.parametrize("part", PURE)
def test_pure_parts_have_no_way_to_the_host(part: str) -> None:
    """Decisions and metrics follow from records alone."""
    assert own_imports(part) <= PURE[part]
    assert not {name.split(".")[0] for name in imports(part)} & IMPURE_MODULES


def test_only_the_guard_extends() -> None:
    """One place decides that the host is changed, another one changes it."""
    users = {part for part in ORDER if "extend" in own_imports(part)}

    assert users == {"guard", "service"}


def test_only_command_starts_processes() -> None:
    """So that every one has its deadline, its environment and its limits."""
    users = {part for part in ORDER if "subprocess" in set(imports(part))}

    assert users == {"command"}


def test_the_web_side_never_touches_the_host() -> None:
    """It serves Snapshots and knows neither sources nor guard."""
    forbidden = {"sources", "guard", "extend", "command", "devmapper", "collection"}

    assert not own_imports("web") & forbidden


@pytest.mark.parametrize("part", ORDER)
def test_nothing_happens_at_import(part: str) -> None:
    """Modules define; only __main__ runs anything, when it is the program."""
    for path in files(part):
        for node in ast.parse(path.read_text()).body:
            is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            is_loop = isinstance(node, (ast.For, ast.While, ast.With))
            assert not is_call, f"{path}:{node.lineno}"
            assert not is_loop, f"{path}:{node.lineno}"


def test_the_folders_at_the_top_are_these() -> None:
    """A new one is made on purpose; what make and tools leave is not looked at."""
    left = {"build", "dist", "__pycache__"}
    found = {path.name for path in ROOT.parent.iterdir() if path.is_dir()}

    assert {name for name in found - left if not name.startswith(".")} == {
        "exporter",
        "grafana",
        "rules",
        "systemd",
        "tests",
    }


def test_the_dashboards_builder_stands_alone() -> None:
    """It knows Grafana's SDK, and nothing of the program; the program knows nothing of it."""
    used = set()
    for path in (ROOT.parent / "grafana").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                used.add(node.module.split(".")[0])
    program = {name.split(".")[0] for part in ORDER for name in imports(part)}

    assert used - set(sys.stdlib_module_names) == {"grafana", "grafana_foundation_sdk"}
    assert not program & {"grafana", "grafana_foundation_sdk"}
