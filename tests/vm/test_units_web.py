"""What the units offer to a network, and to a hook: as they run under real systemd."""

from __future__ import annotations

import base64
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import bcrypt
import pytest
import trustme

from tests.vm import scenarios, units
from tests.vm.guest import CONFIG, Guest
from tests.vm.machine import Machine
from tests.vm.units import GUARD, WEB
from tests.vm.waiting import wait_until

pytestmark = pytest.mark.any_release

DIRECTORY = "/etc/thinpool-exporter"
FLAGS = "/etc/default/thinpool-exporter"
USER, PASSWORD = "alice", "correct horse"
EXTENDS = "thinpool_guard_extends_total"
PATIENCE_SECONDS = 60


def page(machine: Machine, path: str) -> str:
    """Ask the web side over plain HTTP."""
    url = f"http://127.0.0.1:{machine.port()}{path}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def test_the_status_page_of_a_real_pool(served: Machine) -> None:
    """What is true of the host, from the guard's process through the file."""
    protected = f"protected by this guard (auto, pid {units.main_pid(served, GUARD)})"
    says(served, protected)
    seen = page(served, "/")
    assert "docker/thinpool" in seen
    assert "extended above 80 %" in seen

    served.run(f"systemctl stop {GUARD}")
    says(served, "the guard publishes nothing")
    assert "protected by" not in page(served, "/")


def says(machine: Machine, words: str) -> None:
    """Wait until the status page says something."""
    wait_until(
        lambda: words in page(machine, "/"), deadline_seconds=PATIENCE_SECONDS, what=words
    )


def certify(machine: Machine, directory: Path) -> ssl.SSLContext:
    """Put a certificate into the guest, for the group that the web side is in."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(directory / "server.key")
    issued.cert_chain_pems[0].write_to_path(directory / "server.crt")
    for name in ("server.key", "server.crt"):
        machine.put(directory / name, f"{DIRECTORY}/{name}")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_tls_and_passwords(served: Machine, tmp_path: Path) -> None:
    """As the README has it: files of the group, flags in /etc/default."""
    context = certify(served, tmp_path)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    served.write(
        f"{DIRECTORY}/web.yml",
        "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
        f"basic_auth_users: {{{USER}: '{hashed}'}}\n",
    )
    files = "web.yml server.key server.crt"
    served.run(f"cd {DIRECTORY} && chgrp thinpool-snapshot {files} && chmod 640 {files}")
    served.write(FLAGS, f"ARGS=--web.config.file={DIRECTORY}/web.yml\n")
    served.run(f"systemctl restart {WEB}", timeout_seconds=60)

    request = urllib.request.Request(f"https://127.0.0.1:{served.port()}/metrics")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, context=context, timeout=30)
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    request.add_header("Authorization", f"Basic {token}")
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        assert b"thinpool_data_size_bytes" in answer.read()


def test_socket_activation(served: Machine) -> None:
    """Systemd listens: a scrape during a restart waits, and is answered."""
    served.write(FLAGS, "ARGS=--web.systemd-socket\n")
    served.run(f"systemctl stop {WEB}")
    served.run("systemctl start thinpool-exporter.socket")
    assert not served.is_active(WEB)

    assert "thinpool_data_size_bytes" in page(served, "/metrics")
    assert served.is_active(WEB)
    served.run(f"systemctl --no-block restart {WEB}")
    assert "thinpool_data_size_bytes" in page(served, "/metrics")


HOOK = f"{DIRECTORY}/hook"
SCRIPT = """#!/bin/sh
echo "told $THINPOOL_EVENT of $1"
systemd-run --quiet --wait sh -c "echo $1 > /root/told"
"""


def test_a_hook_starts_what_the_sandbox_does_not_hold(served: Machine, web: Guest) -> None:
    """It runs in the guard's sandbox, and may have systemd run what needs more."""
    served.write(HOOK, SCRIPT, mode=0o755)
    served.write(CONFIG, f"guard: {{anticipate: false}}\nhook: {{command: {HOOK}}}\n")
    served.run(f"systemctl reload {GUARD}")
    assert scenarios.fill(served, "/dev/docker/volume", 330).returncode == 0
    web.wait_for(PATIENCE_SECONDS, EXTENDS, 1, device="data", vg="docker", pool="thinpool")

    served.wait_until("test -s /root/told", PATIENCE_SECONDS)
    assert served.read("/root/told").strip() == "docker/thinpool"
    assert "told extended of docker/thinpool" in served.journal(GUARD)
