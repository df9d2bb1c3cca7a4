"""The web side behind a web configuration, over real sockets: TLS, clients, passwords."""

from __future__ import annotations

import base64
import http.client
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitedTooLongError
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import bcrypt
import pytest
import trustme

from exporter.errors import ConfigError
from exporter.exposition import Exposition
from exporter.simulation import ManualClock
from exporter.web.access import MAX_WAITING
from exporter.web.app import build_app
from exporter.web.config import TlsConfig, parse
from exporter.web.connection import Limits
from exporter.web.live import LOOK_SECONDS, LiveSettings
from exporter.web.server import WebServer
from exporter.web.tls import is_allowed, make_context
from tests.factories import make_snapshot
from tests.fakes import FakeLog
from tests.waiting import PATIENCE_SECONDS, eventually

ANY_PORT = "127.0.0.1:0"
PASSWORD = "correct horse"  # noqa: S105 - nobody's
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
BASIC = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
OTHERS = "Basic " + base64.b64encode(b"alice:a guess").decode()
SNAPSHOT = make_snapshot()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return who signs the certificates of these tests."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


class Site:
    """A directory with a web configuration and what it names."""

    def __init__(self, directory: Path, authority: trustme.CA) -> None:
        self.path = directory / "web.yml"
        self._directory = directory
        self._authority = authority
        self.log = FakeLog()
        self.certify("127.0.0.1")
        authority.cert_pem.write_to_path(directory / "ca.crt")

    def certify(self, *names: str) -> None:
        """Put another certificate in place."""
        issued = self._authority.issue_cert(*names)
        issued.private_key_pem.write_to_path(self._directory / "server.key")
        (self._directory / "server.crt").write_bytes(issued.cert_chain_pems[0].bytes())

    def configure(self, *lines: str, tls: str | None = "") -> None:
        """Write the file: TLS with these keys beside the certificate (None: no TLS)."""
        own = (
            ""
            if tls is None
            else (f"tls_server_config: {{cert_file: server.crt, key_file: server.key{tls}}}\n")
        )
        self.path.write_text(own + "\n".join(lines) + "\n")

    @contextmanager
    def serving(self, max_connections: int = 256) -> Iterator[WebServer]:
        """Serve by the file."""
        live = LiveSettings(self.path, log=self.log)
        app = build_app(Exposition(lambda: SNAPSHOT), lambda: SNAPSHOT, settings=live.present)
        server = WebServer(app, [ANY_PORT], limits=Limits(connections=max_connections))
        server.start()
        try:
            yield server
        finally:
            server.stop()
            assert not server.is_running

    def client(self, *names: str) -> ssl.SSLContext:
        """Make a client that trusts the authority, with a certificate of its own if named."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        if names:
            self._authority.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture
def site(tmp_path: Path, authority: trustme.CA) -> Site:
    """Return a site with a certificate for 127.0.0.1."""
    return Site(tmp_path, authority)


def port(server: WebServer) -> int:
    """Find where it listens."""
    return int(server.addresses[0].rpartition(":")[2])


def fetch(
    server: WebServer,
    context: ssl.SSLContext | None,
    headers: Mapping[str, str] | None = None,
    path: str = "/metrics",
    method: str = "GET",
) -> http.client.HTTPResponse:
    """Ask once."""
    if context is None:
        asking: http.client.HTTPConnection = http.client.HTTPConnection(
            "127.0.0.1", port(server), timeout=10
        )
    else:
        asking = http.client.HTTPSConnection(
            "127.0.0.1", port(server), timeout=10, context=context
        )
    with closing(asking) as connection:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        answer.read()
        return answer


def test_serves_over_tls_and_nothing_else(site: Site) -> None:
    """A client that trusts somebody else does not trust this server."""
    site.configure()
    with site.serving() as server:
        assert fetch(server, site.client()).status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            fetch(server, ssl.create_default_context())


@pytest.mark.parametrize(
    "keys",
    ["", ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_plain_http_is_told_to_use_tls(site: Site, keys: str, method: str) -> None:
    """With an error, whatever is asked for, and the end of the connection."""
    site.configure(tls=keys)
    with site.serving() as server:
        for path in ("/metrics", "/"):
            answer = fetch(server, None, path=path, method=method)

            assert (answer.status, answer.getheader("connection")) == (400, "close")
        certified = site.client(*(["scraper.example"] if keys else []))
        assert fetch(server, certified).status == 200


@pytest.mark.parametrize("first", [b"get / HTTP/1.1\r\n\r\n", b"\x80\x2e\1\3", b"\0", b"7"])
def test_what_is_neither_tls_nor_http_is_hung_up_on(site: Site, first: bytes) -> None:
    """By TLS, with or without an alert; the next client is served."""
    site.configure()
    with site.serving() as server:
        with socket.create_connection(("127.0.0.1", port(server)), timeout=10) as client:
            client.sendall(first * 1000)
            with suppress(ConnectionResetError):
                assert not client.recv(100).startswith(b"HTTP")
        assert fetch(server, site.client()).status == 200


def test_a_certificate_written_into_the_file(site: Site, authority: trustme.CA) -> None:
    """The key never lies on a disk of ours."""
    issued = authority.issue_cert("127.0.0.1")
    indent = "\n    "
    cert, key = (
        indent.join(pem.bytes().decode().splitlines())
        for pem in (issued.cert_chain_pems[0], issued.private_key_pem)
    )
    site.path.write_text(f"tls_server_config:\n  cert: |\n    {cert}\n  key: |\n    {key}\n")
    with site.serving() as server:
        assert fetch(server, site.client()).status == 200


def test_clients_must_show_a_certificate(site: Site) -> None:
    """Of our authority; and of these names, where names are given."""
    verified = ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"
    site.configure(tls=verified)
    with site.serving() as server:
        assert fetch(server, site.client("scraper.example")).status == 200
        with pytest.raises(OSError, match=r"(?i)certificate|reset|closed|EOF"):
            fetch(server, site.client())
        stranger = ssl.create_default_context()
        site._authority.configure_trust(stranger)  # noqa: SLF001 - what client() does
        trustme.CA().issue_cert("scraper.example").configure_cert(stranger)
        with pytest.raises(OSError, match=r"(?i)certificate|unknown|reset|closed|EOF"):
            fetch(server, stranger)

    site.configure(tls=verified + ", client_allowed_sans: [scraper.example, '10.0.0.1']")
    with site.serving() as server:
        assert fetch(server, site.client("scraper.example")).status == 200
        assert fetch(server, site.client("10.0.0.1")).status == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            fetch(server, site.client("other.example"))


def test_versions_and_ciphers(site: Site) -> None:
    """What is not offered is not negotiated."""
    cipher = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    site.configure(tls=f", max_version: TLS12, cipher_suites: [{cipher}]")
    with site.serving() as server, ExitStack() as stack:
        raw = stack.enter_context(socket.create_connection(("127.0.0.1", port(server)), 10))
        secure = site.client().wrap_socket(raw, server_hostname="127.0.0.1")
        assert secure.version() == "TLSv1.2"
        assert (secure.cipher() or ("",))[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"
        secure.close()
        newer = site.client()
        newer.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises(OSError, match=r"(?i)version|alert|protocol"):
            fetch(server, newer)


def test_passwords_headers_and_rate(site: Site) -> None:
    """For every path, also one that is not there; with TLS or without."""
    site.configure(
        f"basic_auth_users: {{alice: {HASH}}}",
        "http_server_config: {headers: {Strict-Transport-Security: max-age=9, "
        "Content-Security-Policy: default-src *}}",
        tls=None,
    )
    with site.serving() as server:
        assert fetch(server, None).status == 401
        assert fetch(server, None, path="/nothing").status == 401
        answer = fetch(server, None, {"Authorization": BASIC})
        assert answer.status == 200
        assert answer.headers["Strict-Transport-Security"] == "max-age=9"
        # The page's own policy is stricter, and stays.
        page = fetch(server, None, {"Authorization": BASIC}, "/")
        assert "default-src 'none'" in page.headers.get_all("Content-Security-Policy", [])[0]
        assert len(page.headers.get_all("Content-Security-Policy", [])) == 1

    site.configure("rate_limit: {interval: 1h, burst: 2}", tls=None)
    with site.serving() as server:
        assert [fetch(server, None).status for _ in range(3)] == [200, 200, 429]


def test_changes_are_followed(site: Site) -> None:
    """Another certificate, then a password, while it serves; a fault changes nothing."""
    site.configure()
    with site.serving() as server:
        client = site.client()
        assert fetch(server, client).status == 200

        site.certify("elsewhere.example")
        assert eventually(lambda: not trusts(server, client))
        site.certify("127.0.0.1")
        assert eventually(lambda: trusts(server, client))

        site.configure(f"basic_auth_users: {{alice: {HASH}}}")
        assert eventually(lambda: fetch(server, client).status == 401)
        assert fetch(server, client, {"Authorization": BASIC}).status == 200

        site.configure("basic_auth_users: {alice: nonsense}")
        assert eventually(lambda: told_after_asking(server, client, site))
        assert fetch(server, client).status == 401

        site.configure()
        assert eventually(lambda: fetch(server, client).status == 200)


def test_who_is_known_stays_known_with_another_certificate(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it is renewed: a scraper's password need not be verified again."""
    site.configure(f"basic_auth_users: {{alice: {HASH}}}")
    with site.serving() as server:
        client = site.client()
        assert fetch(server, client, {"Authorization": BASIC}).status == 200
        monkeypatch.setattr(bcrypt, "checkpw", lambda *_: False)
        site.certify("127.0.0.1")

        def is_renewed() -> bool:
            """Whether it has been read again; that shows at a request."""
            assert fetch(server, client, {"Authorization": BASIC}).status == 200
            return site.log.events("web_configuration_reloaded") != []

        assert eventually(is_renewed)
        assert fetch(server, client, {"Authorization": BASIC}).status == 200
        assert fetch(server, client, {"Authorization": OTHERS}).status == 401


def test_guesses_of_one_host_do_not_shut_out_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scraper whose password is not known yet waits for its turn, and is let in."""
    verify, go_on = bcrypt.checkpw, threading.Event()
    monkeypatch.setattr(
        bcrypt, "checkpw", lambda *words: go_on.wait(PATIENCE_SECONDS) and verify(*words)
    )
    site.configure(f"basic_auth_users: {{alice: {HASH}}}", tls=None)
    with site.serving() as server, ExitStack() as stack, ThreadPoolExecutor(1) as scraper:
        crowd = []
        for _ in range(MAX_WAITING + 3):
            guess = stack.enter_context(
                socket.create_connection(("127.0.0.1", port(server)), 10, ("127.0.0.2", 0))
            )
            guess.sendall(
                f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {OTHERS}\r\n\r\n".encode()
            )
            crowd.append(guess)
        # One is being verified and the others wait, but for two: their host has enough.
        assert eventually(lambda: len(select.select(crowd, [], [], 0)[0]) == 2)
        answer = scraper.submit(fetch, server, None, {"Authorization": BASIC})
        with pytest.raises(WaitedTooLongError):
            answer.result(0.1)
        go_on.set()

        assert answer.result(PATIENCE_SECONDS).status == 200


def told_after_asking(server: WebServer, client: ssl.SSLContext, site: Site) -> bool:
    """Whether a request has led to the file's fault."""
    assert fetch(server, client, {"Authorization": BASIC}).status == 200
    return site.log.events("web_configuration_not_reloaded") != []


def test_a_fault_is_told_once_and_what_only_it_names_is_watched(site: Site) -> None:
    """A configuration that waits for its certificate is good as soon as that is there."""
    clock = ManualClock()
    site.configure()
    live = LiveSettings(site.path, log=site.log, clock=clock)
    before = live.present()
    site.path.write_text("tls_server_config: {cert_file: new.crt, key_file: server.key}\n")
    for _ in range(5):
        clock.now += LOOK_SECONDS
        assert live.present() is before
    assert len(site.log.events("web_configuration_not_reloaded")) == 1

    (site.path.parent / "new.crt").write_bytes((site.path.parent / "server.crt").read_bytes())
    clock.now += LOOK_SECONDS

    assert live.present() is not before
    assert len(site.log.events("web_configuration_reloaded")) == 1


def trusts(server: WebServer, client: ssl.SSLContext) -> bool:
    """Whether a client takes the server's certificate."""
    try:
        return fetch(server, client).status == 200
    except ssl.SSLError:
        return False


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cert_file": "none.crt"}, "none.crt: No such file"),
        ({"key_file": "none.key"}, "none.key: No such file"),
        ({"key_file": "ca.crt"}, "do not make a certificate"),
        ({"client_ca_file": "none", "client_auth_type": "VerifyClientCertIfGiven"}, "none"),
        (
            {"client_ca_file": "server.key", "client_auth_type": "VerifyClientCertIfGiven"},
            "server.key: .*CERTIFICATE",
        ),
    ],
)
def test_files_that_do_not_serve(site: Site, change: dict[str, str], told: str) -> None:
    """Named, before anything listens."""
    keys = {"cert_file": "server.crt", "key_file": "server.key", **change}
    text = "\n  ".join(f"{name}: {value}" for name, value in keys.items())
    site.path.write_text(f"tls_server_config:\n  {text}\n")

    with pytest.raises(ConfigError, match=told):
        LiveSettings(site.path, log=site.log)


def test_an_encrypted_key_asks_nobody(site: Site) -> None:
    """A daemon has no terminal to ask at."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - trustme's

    key = serialization.load_pem_private_key(
        (site.path.parent / "server.key").read_bytes(), None
    )
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (site.path.parent / "server.key").write_bytes(locked)
    site.configure()

    with pytest.raises(ConfigError, match="encrypted"):
        LiveSettings(site.path, log=site.log)


def test_no_tls_is_no_context() -> None:
    """And what is chosen for TLS 1.3 alone changes nothing."""
    assert make_context(TlsConfig()) is None
    assert parse("", directory=Path("/")).tls_server_config == TlsConfig()


@pytest.mark.parametrize(
    ("names", "is_right"),
    [
        ((("DNS", "a.example"),), True),
        ((("DNS", "b.example"), ("email", "x@y")), True),
        ((("IP Address", "2001:DB8:0:0:0:0:0:1"),), True),
        ((("URI", "spiffe://a"),), True),
        ((("DNS", "A.example"),), False),
        ((("IP Address", "nonsense"),), False),
        ((), False),
    ],
)
def test_alternative_names(names: tuple[tuple[str, str], ...], *, is_right: bool) -> None:
    """Exactly as written in the list; addresses in their short form, as Go has them."""
    allowed = ("a.example", "x@y", "2001:db8::1", "spiffe://a")

    assert is_allowed({"subjectAltName": names}, allowed) is is_right
    assert not is_allowed(None, allowed)


def test_abuse_leaves_a_scraper_its_answer(site: Site) -> None:
    """Stalled handshakes and idle connections to the limit: who is silent makes room."""
    site.configure()
    with site.serving(max_connections=8) as server, ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(socket.create_connection(("127.0.0.1", port(server)), 10))
        assert eventually(lambda: fetch_status(server, site.client()) == 200)
        assert fetch(server, site.client()).status == 200


def fetch_status(server: WebServer, client: ssl.SSLContext) -> int:
    """Ask once; 0 where there was no room."""
    try:
        return fetch(server, client).status
    except (OSError, http.client.HTTPException):
        return 0


def test_stops_in_time_amid_handshakes(site: Site) -> None:
    """Nobody waits for a client that says nothing."""
    site.configure()
    with ExitStack() as stack, site.serving() as server:
        for _ in range(5):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port(server)), timeout=10)
            )
        assert fetch(server, site.client()).status == 200
        server.stop()
        assert not server.is_running
