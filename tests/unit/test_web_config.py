"""The web configuration file: what is taken, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.errors import ConfigError
from exporter.web.config import HEADERS, TlsVersion, WebConfig, load, parse

HASH = "$2y$10$" + "a" * 53
CERT = "tls_server_config: {cert_file: a.crt, key_file: a.key"
HERE = Path("/etc/web")


def test_an_empty_file_changes_nothing() -> None:
    """Plain HTTP for everybody, as without a file; so do sections without a value."""
    assert parse("", directory=HERE) == WebConfig()
    assert parse("# nothing\n", directory=HERE) == WebConfig()
    assert parse("tls_server_config:\nbasic_auth_users: ~\n", directory=HERE) == WebConfig()
    assert not WebConfig().tls_server_config.is_enabled


def test_everything_that_exporter_toolkit_documents() -> None:
    """Each key, with paths relative to the file."""
    text = f"""
tls_server_config:
  cert_file: server.crt
  key_file: /abs/server.key
  client_ca_file: sub/ca.crt
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [scraper.example, "10.0.0.1"]
  min_version: TLS13
  max_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519]
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=1
    X-Frame-Options: deny
basic_auth_users:
  alice: {HASH}
rate_limit:
  interval: 100ms
  burst: 5
"""
    config = parse(text, directory=HERE)

    tls = config.tls_server_config
    assert [str(path) for path in tls.files] == [
        "/etc/web/server.crt",
        "/abs/server.key",
        "/etc/web/sub/ca.crt",
    ]
    assert tls.min_version is TlsVersion.TLS13
    assert tls.client_allowed_sans == ("scraper.example", "10.0.0.1")
    assert not tls.prefer_server_cipher_suites
    assert config.http_server_config.headers["X-Frame-Options"] == "deny"
    assert config.rate_limit.interval_seconds == 0.1
    assert config.basic_auth_users == {"alice": HASH}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tls_config: {}", "tls_config"),
        (CERT + ", colour: red}", "colour"),
        ("tls_server_config: {cert_file: a}", "key or key_file is missing"),
        ("tls_server_config: {key_file: a}", "cert or cert_file is missing"),
        (CERT + ", cert: x}", "one of them"),
        (CERT + ", client_ca_file: x}", "client_auth_type"),
        (CERT + ", client_ca_file: x, client_auth_type: NoClientCert}", "client_auth_type"),
        (CERT + ", client_ca: x, client_auth_type: NoClientCert}", "client_auth_type"),
        (CERT + ", client_auth_type: RequireAnyClientCert}", "proves nothing"),
        (CERT + ", client_auth_type: Sometimes}", '"Sometimes" is unknown'),
        (CERT + ", client_auth_type: RequireAndVerifyClientCert}", "takes client_ca"),
        (
            CERT + ", client_ca_file: x, client_auth_type: VerifyClientCertIfGiven, "
            "client_allowed_sans: [a]}",
            "client_allowed_sans",
        ),
        (CERT + ", min_version: TLS14}", "TLS14"),
        (CERT + ", min_version: TLS13, max_version: TLS12}", "lower"),
        (CERT + ", cipher_suites: [TLS_BEST]}", '"TLS_BEST" is unknown'),
        (CERT + ", cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]}", "is unknown"),
        (CERT + ", curve_preferences: [CurveP257]}", "CurveP257"),
        (CERT + ", curve_preferences: [CurveP256, X25519]}", "more than one"),
        ("basic_auth_users: {alice: secret}", "basic_auth_users.alice"),
        (f"basic_auth_users: {{'a:b': '{HASH}'}}", "colon"),
        ("http_server_config: {headers: {Server: mine}}", '"Server" cannot be set'),
        ("http_server_config: {headers: {X-Frame-Options: no}}", "deny or sameorigin"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\r\\nb"}}', "not fit"),
        ("http_server_config: {http2: maybe}", "bool"),
        ("rate_limit: {interval: fast}", "rate_limit.interval"),
        ("rate_limit: {interval: 1s}", "rate_limit.burst"),
        ("rate_limit: {interval: 1s, burst: many}", "burst"),
        ("basic_auth_users: [alice]", "object"),
        ("a: &x 1\nb: *x\n", "alias"),
        ("rate_limit: {burst: 1, burst: 2}", "twice"),
        ("tls_server_config: {", "line"),
        ("--- a\n--- b\n", "document"),
        ("- " * 5000, ""),
        ("x" * 300_000, "larger"),
    ],
)
def test_what_is_refused(text: str, told: str) -> None:
    """With the key, or the line where the form is wrong."""
    with pytest.raises(ConfigError) as caught:
        parse(text, directory=HERE)

    assert told in str(caught.value)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Each with the file's name."""
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users: {a: b}\nhttp_server_config: {headers: {Server: x}}\n")

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert len(caught.value.faults) == 2
    assert all(str(path) in fault for fault in caught.value.faults)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """As is one that is no text."""
    (tmp_path / "bytes.yml").write_bytes(b"\xff\xfe")
    for name, why in (("none.yml", "No such file"), ("bytes.yml", "UTF-8")):
        with pytest.raises(ConfigError, match=f"{name}.*{why}"):
            load(tmp_path / name)


def test_the_headers_are_those_of_exporter_toolkit() -> None:
    """So that one file serves every exporter."""
    for name, choices in HEADERS.items():
        text = f"http_server_config: {{headers: {{{name}: {(*choices, 'x')[0]}}}}}"
        assert parse(text, directory=HERE).http_server_config.headers
