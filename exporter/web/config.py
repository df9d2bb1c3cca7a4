"""The web configuration file: text in, a checked WebConfig or a ConfigError out.

The format is that of Prometheus' exporter-toolkit (docs/web-configuration.md there), so that
one file serves every exporter of a host. Relative paths are relative to the file. What this
program cannot do as asked is an error and not passed over.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from enum import Enum
from pathlib import Path

import msgspec
import yaml
from msgspec import Struct, structs

from exporter.config.document import shown
from exporter.errors import ConfigError, quote
from exporter.units import parse_duration_seconds, quoted

MAX_FILE_BYTES = 256 * 1024  # certificates may be written into it
MAX_FAULTS = 50
MAX_BURST = 1_000_000_000  # as good as no limit
# What exporter-toolkit lets people set, and the values where there are but a few.
HEADERS: Mapping[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
BCRYPT = re.compile(r"\$2[abxy]?\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
# Go's names for TLS up to 1.2, and OpenSSL's for the same. TLS_RSA_* lack forward secrecy.
CIPHERS: Mapping[str, str] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
# Known, and without effect: what is chosen in TLS 1.3 is nobody's to configure, as in Go.
CIPHERS_OF_TLS13 = {
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
}
CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}


# Of PyYAML's own, for an escape or a version that is no number of its kind.
NUMBERS = (ValueError, OverflowError)


class TlsVersion(Enum):
    """As Go's package names them."""

    TLS10 = "TLS10"
    TLS11 = "TLS11"
    TLS12 = "TLS12"
    TLS13 = "TLS13"


class TlsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tls_server_config`; paths are absolute once the file has been read."""

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: str = ""
    client_allowed_sans: tuple[str, ...] = ()
    min_version: TlsVersion = TlsVersion.TLS12
    max_version: TlsVersion = TlsVersion.TLS13
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    @property
    def is_enabled(self) -> bool:
        """Whether TLS is asked for at all."""
        return bool(
            self.cert
            or self.key
            or self.client_ca
            or self.cert_file
            or self.key_file
            or self.client_ca_file
            or self.client_auth_type
        )

    @property
    def verifies_clients(self) -> bool:
        """Whether a client that shows a certificate must show a good one."""
        return self.client_auth_type in VERIFYING

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read, to be watched."""
        names = (self.cert_file, self.key_file, self.client_ca_file)
        return tuple(Path(name) for name in names if name)


VERIFYING = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
UNVERIFYING = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")


class HttpConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`http_server_config`. HTTP/2 may be asked for, and is not offered."""

    http2: bool = True
    headers: dict[str, str] = {}


class RateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rate_limit`: a token bucket for all requests together; an interval of 0 is none."""

    interval: str = "0"
    burst: int = 0

    @property
    def interval_seconds(self) -> float:
        """Time after which there is another token."""
        return parse_duration_seconds(self.interval)


class WebConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file; without one, plain HTTP for everybody. `basic_auth_users` are bcrypt hashes."""

    tls_server_config: TlsConfig = TlsConfig()
    http_server_config: HttpConfig = HttpConfig()
    basic_auth_users: dict[str, str] = {}
    rate_limit: RateLimit = RateLimit()


def load(path: Path) -> WebConfig:
    """Read and check the file. Raises ConfigError that names it."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        return parse(raw.decode("utf-8-sig"), directory=path.parent.absolute())
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 at byte {error.start + 1}"]) from error
    except ConfigError as error:
        raise ConfigError([f"{path}: {fault}" for fault in error.faults]) from error


def parse(text: str, *, directory: Path) -> WebConfig:
    """Read the file's text, with paths relative to `directory`.

    Raises ConfigError that holds every fault, or the first one of form.
    """
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError([f"larger than {MAX_FILE_BYTES} bytes"])
    try:
        tree = yaml.load(text, _Loader)  # noqa: S506 - it makes strings alone
        config = msgspec.convert({} if tree is None else tree, WebConfig, strict=False)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError, *NUMBERS) as error:
        raise ConfigError([_form_fault(error)]) from error
    faults = [
        *_tls_faults(config.tls_server_config),
        *_user_faults(config.basic_auth_users),
        *_header_faults(config.http_server_config.headers),
        *_rate_faults(config.rate_limit),
    ]
    if faults:
        raise ConfigError(faults[:MAX_FAULTS])
    return structs.replace(
        config, tls_server_config=_with_paths(config.tls_server_config, directory)
    )


class _Loader(yaml.BaseLoader):
    """YAML without guesses: each scalar stays as it is written; no aliases, no repetitions."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse what would multiply the text."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - as the base class has it
    ) -> dict[Hashable, object]:
        """Refuse a key that is written twice; leave out what has no value."""
        names: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError("a key is one word")
            if key.value in names:
                raise yaml.YAMLError(f"{quoted(key.value)} is written twice")
            names.add(key.value)
        node.value = [(key, value) for key, value in node.value if not _is_empty(value)]
        return super().construct_mapping(node, deep)


def _is_empty(node: yaml.Node) -> bool:
    is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return is_plain and node.value in {"", "~", "null"}


def _form_fault(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return quote(str(error))


def _with_paths(config: TlsConfig, directory: Path) -> TlsConfig:
    def absolute(name: str) -> str:
        return str(directory / name) if name else ""

    return structs.replace(
        config,
        cert_file=absolute(config.cert_file),
        key_file=absolute(config.key_file),
        client_ca_file=absolute(config.client_ca_file),
    )


def _tls_faults(config: TlsConfig) -> list[str]:
    if not config.is_enabled:
        return []
    checks = (
        (not (config.cert or config.cert_file), "cert or cert_file is missing"),
        (not (config.key or config.key_file), "key or key_file is missing"),
        (bool(config.cert and config.cert_file), "cert and cert_file: one of them"),
        (bool(config.key and config.key_file), "key and key_file: one of them"),
        (
            bool(config.client_ca and config.client_ca_file),
            "client_ca and client_ca_file: one of them",
        ),
        (
            bool(config.client_ca or config.client_ca_file)
            and config.client_auth_type in {"", "NoClientCert"},
            "client_ca takes a client_auth_type that verifies certificates",
        ),
        (
            bool(config.client_allowed_sans)
            and config.client_auth_type != "RequireAndVerifyClientCert",
            "client_allowed_sans takes client_auth_type RequireAndVerifyClientCert",
        ),
        (
            config.verifies_clients and not (config.client_ca or config.client_ca_file),
            f"client_auth_type {config.client_auth_type} takes client_ca or client_ca_file",
        ),
        (
            config.max_version.value < config.min_version.value,
            "max_version is lower than min_version",
        ),
        (
            len(config.curve_preferences) > 1,
            "curve_preferences: more than one is not possible here",
        ),
    )
    faults = [text for is_wrong, text in checks if is_wrong]
    faults += _word_faults(config)
    return [f"tls_server_config: {fault}" for fault in faults]


def _word_faults(config: TlsConfig) -> list[str]:
    faults = []
    kind = config.client_auth_type
    if kind in UNVERIFYING:
        faults.append(
            f"client_auth_type {kind}: a certificate that nobody verifies proves nothing; "
            "RequireAndVerifyClientCert verifies it"
        )
    elif kind not in {"", "NoClientCert", *VERIFYING}:
        faults.append(f"client_auth_type {quoted(kind)} is unknown")
    known = CIPHERS.keys() | CIPHERS_OF_TLS13
    unknown = [
        f"cipher_suites: {quoted(name)}" for name in config.cipher_suites if name not in known
    ]
    unknown += [
        f"curve_preferences: {quoted(name)}"
        for name in config.curve_preferences
        if name not in CURVES
    ]
    faults += [f"{what} is unknown" for what in unknown]
    return faults


def _user_faults(users: Mapping[str, str]) -> Iterator[str]:
    for user, hashed in users.items():
        name = f"basic_auth_users.{shown(user)}"
        if not BCRYPT.fullmatch(hashed):
            yield f"{name}: not a bcrypt hash, as htpasswd -nBC 10 {shown(user)} writes it"
        if ":" in user:
            yield f"{name}: a name with a colon cannot be sent"


def _header_faults(headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        choices = HEADERS.get(name)
        if choices is None:
            yield f"http_server_config.headers: {quoted(name)} cannot be set"
        elif choices and value not in choices:
            yield f"http_server_config.headers.{name}: must be {' or '.join(choices)}"
        elif not (value.isprintable() and value.isascii()):
            yield f"http_server_config.headers.{name}: not fit for a header"


def _rate_faults(limit: RateLimit) -> Iterator[str]:
    try:
        interval = limit.interval_seconds
    except ValueError as error:
        yield f"rate_limit.interval: {error}"
        return
    if limit.burst < 0 or (interval and not limit.burst):
        yield "rate_limit.burst: must be 1 or more"
    if limit.burst > MAX_BURST:
        yield f"rate_limit.burst: must be {MAX_BURST} or less"
