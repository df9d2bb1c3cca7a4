"""Listen addresses as Prometheus writes them → sockets that listen."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable

from exporter.errors import ListenError

# Of a crowd that comes at once: whoever finds no place tries again a second later.
BACKLOG = 1024
PORT = re.compile(r"[0-9]{1,5}")
MAX_PORT = 65535
ANY_ADDRESS = "::"
# A client that asks but never reads the answer: the kernel ends its connection, which
# no timeout of the server's does.
UNREAD_MILLISECONDS = 30_000
# Of the kernel's memory for each of them, which otherwise grows to 4 MiB; it takes twice this.
UNREAD_BYTES = 131_072


def listen(addresses: Iterable[str]) -> tuple[socket.socket, ...]:
    """Listen on every address, or on none. Raises ListenError."""
    listeners: list[socket.socket] = []
    try:
        listeners.extend(_listen(address) for address in addresses)
    except ListenError:
        for listener in listeners:
            listener.close()
        raise
    return tuple(listeners)


def adopt(descriptors: Iterable[int]) -> tuple[socket.socket, ...]:
    """Take over sockets that listen already, as systemd passes them. Raises ListenError."""
    return tuple(map(_adopted, descriptors))


def parse_address(address: str) -> tuple[str, int]:
    """Take `:10128`, `127.0.0.1:10128` or `[::1]:10128` apart. Raises ListenError."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ListenError(address, "an IPv6 address needs brackets")
    if not (colon and PORT.fullmatch(port) and int(port) <= MAX_PORT):
        raise ListenError(address, "not HOST:PORT or :PORT")
    return host, int(port)


def address_of(listener: socket.socket) -> str:
    """Say where a socket listens, as `HOST:PORT`, or the path of a Unix socket."""
    name = listener.getsockname()
    if isinstance(name, str):
        return name
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _adopted(number: int) -> socket.socket:
    try:
        return _prepared(socket.socket(fileno=number))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ListenError(f"descriptor {number}, from systemd", reason) from error


def _listen(address: str) -> socket.socket:
    host, port = parse_address(address)
    try:
        return _bound(host, port)
    except OSError as error:
        raise ListenError(address, error.strerror or str(error)) from error


def _bound(host: str, port: int) -> socket.socket:
    family, where = _resolve(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if where[0] == ANY_ADDRESS:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return _prepared(listener)


def _prepared(listener: socket.socket) -> socket.socket:
    """Set what its connections inherit."""
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
    if listener.family != socket.AF_UNIX:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)
    return listener


def _resolve(host: str, port: int) -> tuple[int, tuple[object, ...]]:
    """Find the address; without a host every one, IPv6 as well where there is any."""
    if not host:
        host = ANY_ADDRESS if _has_ipv6() else "0.0.0.0"  # noqa: S104 - as ":PORT" asks
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # `localhost` is both: IPv4 first, as Go's net.Listen chooses.
    family, _, _, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, where


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((ANY_ADDRESS, 0))
    except OSError:
        return False
    return True
