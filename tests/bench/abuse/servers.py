"""The servers that are compared: each started alone, with or without TLS, as its users do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import trustme

from exporter.publish import FILE_NAME
from tests.bench.abuse.attack import client_context
from tests.bench.abuse.scraping import Scraper
from tests.end_to_end.program import Program
from tests.waiting import wait_for

HERE = Path(__file__).resolve().parent
START_SECONDS = 30.0
NODE_EXPORTER = "prometheus-node-exporter"
LVM_EXPORTER = "prometheus-lvm-exporter"


class Server(NamedTuple):
    """A server that runs."""

    pid: int
    address: str
    is_tls: bool

    def scraper(self, *, keeps_connection: bool) -> Scraper:
        """Make a client of it."""
        context = client_context() if self.is_tls else None
        return Scraper(self.address, context, keeps_connection=keeps_connection)


class Side(NamedTuple):
    """One of those compared; `find` says where its program is, None where it is missing."""

    name: str
    pools: int = 0
    program: str = ""
    flags: tuple[str, ...] = ()

    def find(self) -> str | None:
        """Find the program; ours is always there."""
        if self.pools:
            return sys.executable
        # Where `go install` puts it, if nobody has said otherwise.
        path = os.pathsep.join((os.environ.get("PATH", ""), str(Path.home() / "go" / "bin")))
        return shutil.which(self.program, path=path)


SIDES = (
    Side("ours, 1 pool", pools=1),
    Side("ours, 100 pools", pools=100),
    Side(NODE_EXPORTER, program=NODE_EXPORTER),
    Side(LVM_EXPORTER, program=LVM_EXPORTER),
)


@contextmanager
def running(side: Side, directory: Path, *, is_tls: bool) -> Iterator[Server]:
    """Run one side until the end of the block."""
    flags = (f"--web.config.file={_web_config(directory)}",) if is_tls else ()
    run = _ours(side.pools, directory, flags) if side.pools else _other(side, directory, flags)
    with run as (pid, address):
        server = Server(pid, address, is_tls)
        wait_for(lambda: _answers(server), seconds=START_SECONDS, what=side.name)
        yield server


def _answers(server: Server) -> bool | None:
    with suppress(OSError), closing(server.scraper(keeps_connection=False)) as scraper:
        scraper.get()
        return True
    return None


@contextmanager
def _ours(pools: int, directory: Path, flags: Sequence[str]) -> Iterator[tuple[int, str]]:
    with published(pools, directory), Program("web", *flags, directory=directory) as program:
        yield program.process.pid, program.address


@contextmanager
def published(pools: int, directory: Path) -> Iterator[int]:
    """Publish a Snapshot once a second, as the guard does, in a process; gives its number."""
    argv = (sys.executable, HERE / "publisher.py", directory, "--pools", str(pools))
    with _ended(argv, directory / "publisher.log") as pid:
        wait_for(
            lambda: (directory / FILE_NAME).exists() or None,
            seconds=START_SECONDS,
            what="a Snapshot",
        )
        yield pid


@contextmanager
def _other(side: Side, directory: Path, flags: Sequence[str]) -> Iterator[tuple[int, str]]:
    address = f"127.0.0.1:{_free_port()}"
    argv = (side.find(), f"--web.listen-address={address}", *side.flags, *flags)
    with _ended(argv, directory / "other.log") as pid:
        yield pid, address


@contextmanager
def _ended(argv: Sequence[object], log: Path) -> Iterator[int]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def _web_config(directory: Path) -> Path:
    """Write a web configuration that all of them read, with a certificate."""
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    path = directory / "web.yml"
    path.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
    return path


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
