"""TLS as the web configuration has it: certificates in, a context for connections out."""

from __future__ import annotations

import ipaddress
import os
import ssl
import sys
import warnings
from asyncio import sslproto
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from exporter.errors import ConfigError
from exporter.web.config import CIPHERS, CURVES, TlsConfig, TlsVersion

VERSIONS: Mapping[TlsVersion, ssl.TLSVersion] = {
    TlsVersion.TLS10: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS11: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}
VERIFY = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
# Of what a client sends at a time; the largest record of TLS.
BUFFER_BYTES = 16384


def use_small_buffers() -> None:
    """Let asyncio read TLS into less: each connection has a buffer of its own.

    Python's 256 KiB are zeroed and so in use: 200 idle connections would take 60 MiB.
    """
    if sys.version_info >= (3, 11):  # before, there is no such buffer
        sslproto.SSLProtocol.max_size = BUFFER_BYTES


def make_context(config: TlsConfig) -> ssl.SSLContext | None:
    """Make the context; None where TLS is not asked for. Raises ConfigError."""
    if not config.is_enabled:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        # Old versions are deprecated, and somebody has asked for them by name.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = VERSIONS[config.min_version]
        context.maximum_version = VERSIONS[config.max_version]
    if not config.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _choose(context, config)
    _load(context, config)
    return context


def _choose(context: ssl.SSLContext, config: TlsConfig) -> None:
    ciphers = [CIPHERS[name] for name in config.cipher_suites if name in CIPHERS]
    try:
        if ciphers:
            context.set_ciphers(":".join(ciphers))
        for name in config.curve_preferences:
            context.set_ecdh_curve(CURVES[name])
    except (ssl.SSLError, ValueError) as error:
        raise _fault("cipher_suites, curve_preferences", error) from error


def _load(context: ssl.SSLContext, config: TlsConfig) -> None:
    with ExitStack() as stack:
        cert = config.cert_file or stack.enter_context(_file_of(config.cert))
        key = config.key_file or stack.enter_context(_file_of(config.key))
        for name, path in (("cert", cert), ("key", key)):
            _check_readable(f"{name}_file", path)
        try:
            context.load_cert_chain(cert, key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            names = f"{config.cert_file or 'cert'} and {config.key_file or 'key'}"
            raise _fault(f"{names} do not make a certificate", error) from error
    context.verify_mode = VERIFY.get(config.client_auth_type, ssl.CERT_NONE)
    if not config.verifies_clients:
        return
    if config.client_ca_file:
        _check_readable("client_ca_file", config.client_ca_file)
    try:
        context.load_verify_locations(
            config.client_ca_file or None, cadata=config.client_ca or None
        )
    except (ssl.SSLError, OSError, ValueError) as error:
        raise _fault(f"{config.client_ca_file or 'client_ca'}", error) from error


@contextmanager
def _file_of(text: str) -> Iterator[str]:
    """Give what is written inline a name: OpenSSL takes files alone. It is never on a disk."""
    descriptor = os.memfd_create("thinpool-exporter-tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _check_readable(name: str, path: str) -> None:
    """Name the file that is missing: OpenSSL says only that one is."""
    try:
        with open(path, "rb"):  # noqa: PTH123 - the path may be one of /proc
            pass
    except OSError as error:
        raise ConfigError([f"tls_server_config.{name}: {path}: {error.strerror}"]) from error


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is there to be asked for the password")


def _fault(what: str, error: Exception) -> ConfigError:
    reason = getattr(error, "reason", None) or error
    return ConfigError([f"tls_server_config: {what}: {reason}"])


def is_allowed(certificate: Mapping[str, object] | None, allowed: Iterable[str]) -> bool:
    """Whether one of a client's subject alternative names is in the list.

    Shape: `{"subjectAltName": (("DNS", "scraper"), ("IP Address", "::1"), …)}`, as
    ssl.SSLSocket.getpeercert() gives it.
    """
    wanted = set(allowed)
    names = (certificate or {}).get("subjectAltName", ())
    if not isinstance(names, tuple):
        return False
    return any(_name(kind, value) in wanted for kind, value in names)


def _name(kind: str, value: str) -> str:
    if kind != "IP Address":
        return value
    try:
        return str(ipaddress.ip_address(value.strip()))
    except ValueError:
        return value
