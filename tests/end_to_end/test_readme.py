"""What the READMEs say is what there is: commands, metrics, configuration, rules, links."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from exporter import config
from exporter.config import Settings
from exporter.config.keys import KEYS
from exporter.service.wiring import rules
from tests.end_to_end.program import Program, run
from tests.programs import Edition, need

ROOT = Path(__file__).resolve().parents[2]
# The top one is for newcomers; the others stand in the folders that they are about.
FILES = [
    ROOT / folder / "README.md"
    for folder in ("", "exporter", "systemd", "rules", "grafana", "tests")
]
README = "\n".join(path.read_text() for path in FILES)
MOST_LINES = 200


def blocks(language: str) -> list[str]:
    """Find the READMEs' code blocks in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


PREFIX = "/opt/thinpool-exporter"
# Commands that need root, a service manager or time, and the tests that run them instead.
RUN_ELSEWHERE = {
    "make run": "tests/end_to_end/test_readme.py: test_make_run_chooses_the_simulated_host",
    "make test": ".ci/run",
    "sudo apt install ./dist/thinpool-exporter_*.deb": "tests/vm/payload.py",
    "sudo systemctl enable --now thinpool-guard thinpool-exporter": "tests/vm/units.py",
    "sudo thinpool-exporter check": "tests/vm: check",
    "sudo thinpool-exporter collect --output "
    "/var/lib/node_exporter/thinpool.prom": "tests/end_to_end/test_bad_input.py: textfile",
}
METRICS_ONLY = (
    "sudo sh -c \"echo 'guard: {mode: observe}' > /etc/thinpool-exporter/config.yml\""
)
LOADED = "/etc/prometheus/thinpool"
WRITTEN = (
    f"python3 -m rules.builder --out {LOADED} --job 'thinpool|node' "
    "--grafana https://grafana.example.org"
)
RULES = (
    f"sudo install -d {LOADED}",
    f"sudo install -m 644 rules/recording.yaml rules/alerts.yaml {LOADED}/",
    f"promtool check rules {LOADED}/recording.yaml {LOADED}/alerts.yaml",
    f"sudo {WRITTEN}",
)
INSTALLATION = (
    "make dist",
    f"sudo python3 -m venv {PREFIX}",
    f"sudo {PREFIX}/bin/pip install dist/*.whl",
)


def anchors(text: str) -> set[str]:
    """Name a file's headings as GitHub does in links."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def test_a_newcomer_reads_little() -> None:
    """The rest stands where it belongs, and the top README leads there."""
    top = FILES[0].read_text()

    assert len(top.splitlines()) < MOST_LINES
    assert all(f"({path.relative_to(ROOT)})" in top for path in FILES[1:])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    """To a file of the tree, and to a heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


def test_every_command_is_run_somewhere() -> None:
    """A new command in a README is tested, or this list says where."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]

    assert set(lines) == {*RUN_ELSEWHERE, METRICS_ONLY, *INSTALLATION, *RULES}


def test_metrics_only_is_a_guard_that_never_acts(tmp_path: Path) -> None:
    """Tried below another directory; tests/vm/test_units.py has the unit read it."""
    line = METRICS_ONLY.replace("sudo ", "").replace("/etc/thinpool-exporter", str(tmp_path))

    subprocess.run(["sh", "-c", line], check=True)

    settings = config.load(tmp_path / "config.yml", required=True)
    assert settings == config.parse("guard: {mode: observe}")
    assert not rules(settings).may_extend


# The first time, nfpm is compiled.
@pytest.mark.timeout(600)
def test_the_installation_works(tmp_path: Path) -> None:
    """From a copy of the tree: packages, and a program that answers in a prefix of its own."""
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(
        ".venv", ".git", "__pycache__", ".*_cache", "dist", "node_modules"
    )
    shutil.copytree(ROOT, tree, ignore=ignored)
    prefix = tmp_path / "prefix"
    script = (
        "\n".join(("set -e", *INSTALLATION)).replace("sudo ", "").replace(PREFIX, str(prefix))
    )

    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    program = prefix / "bin" / "thinpool-exporter"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("thinpool-exporter ")
    made = {path.suffix for path in (tree / "dist").iterdir()}
    assert made in ({".whl", ".gz", ".deb", ".rpm"}, {".whl", ".gz"})
    assert ("LEFT OUT: " in done.stdout) == (".deb" not in made), done.stdout


def test_make_run_chooses_the_simulated_host() -> None:
    """Its line says so; the choice itself is one word of `collect`'s output."""
    recipe = (ROOT / "Makefile").read_text()

    assert "SIMULATED" in recipe
    assert "grep -q '^thinpool_info'" in recipe
    # Whoever tries it out has not asked for anything to be extended.
    assert "thinpool-exporter run --guard.mode=observe --config.file=/dev/null" in recipe
    asked = config.parse("guard: {mode: observe}")  # what the flags come to
    assert not rules(asked).may_extend
    assert "thinpool_info" not in run("collect", env={"DM_DEV_DIR": "/nonexistent"}).stdout


def test_every_metric_is_described(demo: Program) -> None:
    """Each family of the demo, and none that does not exist."""
    text = demo.get("/metrics")[1]
    families = set(re.findall(r"^# TYPE (thinpool_\w+)", text, re.MULTILINE))
    described = set(re.findall(r"`(thinpool_\w+)`", README))

    assert families <= described
    assert {name for name in described if name not in families} <= {
        "thinpool_dmeventd_up",
        "thinpool_guard_memory_locked",  # of a guard that may extend a real pool
        "thinpool_hook_calls_total",
        "thinpool_guard_process_cpu_seconds_total",  # of a process apart
        "thinpool_guard_process_resident_memory_bytes",
        "thinpool_guard_process_virtual_memory_bytes",
        "thinpool_guard_process_start_time_seconds",
        "thinpool_guard_process_open_fds",
        "thinpool_guard_process_max_fds",
        "thinpool_exporter_snapshot_success",
        "thinpool_fill_bytes_per_second",
        "thinpool_loopback_backing_promised_bytes",  # of files, which the demo has not
        "thinpool_volume_fill_bytes_per_second",
        "thinpool_guard_queue_seconds_left",
        "thinpool_seconds_until_full",
        "thinpool_guard_last_extend_timestamp_seconds",
        "thinpool_monitored",
    }


def test_the_configuration_shown_is_the_default() -> None:
    """Every key, with the value that it has without a file."""
    (text,) = (block for block in blocks("yaml") if block.startswith("guard:"))

    assert config.parse(text) == Settings()
    for key in KEYS:
        leaf = key.name.rpartition(".")[2]
        assert leaf in README, key.name


@pytest.mark.parametrize(
    ("event", "percent", "status"),
    [("extended", "99", 0), ("full", "97", 1), ("impossible", "80", 0)],
)
def test_the_hook_shown_is_called_again_until_there_is_room(
    tmp_path: Path, event: str, percent: str, status: int
) -> None:
    """With a docker that has nothing to remove."""
    (script,) = blocks("shell")
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\ntest "$*" = "image prune --force"\n')
    docker.chmod(0o755)

    done = subprocess.run(
        ["sh", "-c", script],
        env={
            "PATH": f"{tmp_path}:/bin:/usr/bin",
            "THINPOOL_EVENT": event,
            "DMEVENTD_THIN_POOL_DATA": percent,
        },
        check=False,
    )

    assert done.returncode == status


def test_the_rules_are_loaded_as_shown(tmp_path: Path) -> None:
    """Below another directory; promtool accepts them before and after their links change."""
    need("promtool", "prometheus")
    script = "\n".join(("set -e", *RULES, RULES[2]))
    script = script.replace("sudo ", "").replace("/etc/prometheus", str(tmp_path))

    done = subprocess.run(
        ["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
    alerts = (tmp_path / "thinpool" / "alerts.yaml").read_text()
    assert "https://grafana.example.org/d/thinpool-host?" in alerts
    recorded = (tmp_path / "thinpool" / "recording.yaml").read_text()
    assert 'up{job=~"thinpool|node"}' in recorded


def test_prometheus_takes_the_job_shown(tmp_path: Path, edition: Edition) -> None:
    """As promtool says."""
    (scrape,) = (block for block in blocks("yaml") if block.startswith("scrape_configs:"))
    (tmp_path / "prometheus.yml").write_text(scrape)
    promtool = need("promtool", "prometheus", edition)
    checked = subprocess.run(
        [promtool, "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_make_target_named_exists() -> None:
    """In the README and in the Makefile's own list."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = set(re.findall(r"`make ([a-z-]+)`", README)) | set(
        re.findall(r"^make ([a-z-]+)$", README, re.MULTILINE)
    )
    assert named <= targets
