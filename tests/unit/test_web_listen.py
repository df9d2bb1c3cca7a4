"""Listen addresses, as Prometheus writes them."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from exporter.errors import ListenError
from exporter.web.listen import address_of, adopt, listen, parse_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (":10128", ("", 10128)),
        ("127.0.0.1:10128", ("127.0.0.1", 10128)),
        ("[::1]:10128", ("::1", 10128)),
        ("[::]:0", ("::", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_takes_an_address_apart(address: str, expected: tuple[str, int]) -> None:
    """Host and port, the host empty for every address."""
    assert parse_address(address) == expected


@pytest.mark.parametrize(
    "address", ["", "10128", "host", "host:", "host:http", ":65536", ":-1", "::1:10128", ":١"]
)
def test_refuses_what_is_no_address(address: str) -> None:
    """The error names what was written."""
    with pytest.raises(ListenError, match=r"cannot listen on"):
        parse_address(address)


@pytest.mark.parametrize(
    ("address", "start"),
    [
        ("127.0.0.1:0", "127.0.0.1:"),
        ("[::1]:0", "[::1]:"),
        ("localhost:0", "127.0.0.1:"),
        ("0.0.0.0:0", "0.0.0.0:"),
    ],
)
def test_listens_where_it_is_told(address: str, start: str) -> None:
    """The address is in Prometheus' form again, with the real port."""
    (listener,) = listen([address])
    with closing(listener):
        assert address_of(listener).startswith(start)
        assert not address_of(listener).endswith(":0")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_alone_is_every_address(host: str) -> None:
    """`:PORT` takes IPv4 and IPv6."""
    (listener,) = listen([":0"])
    with (
        closing(listener),
        socket.create_connection((host, listener.getsockname()[1]), timeout=5) as client,
    ):
        assert client.getpeername()[0] == host


def test_a_port_that_is_taken_is_an_error() -> None:
    """The error names address and reason, and no other address stays open."""
    (taken,) = listen(["127.0.0.1:0"])
    with closing(taken):
        address = address_of(taken)
        with pytest.raises(ListenError, match=f"cannot listen on {address}: Address already"):
            listen(["127.0.0.1:0", address])


def test_a_host_that_does_not_exist_is_an_error() -> None:
    """An address that this host does not have is named."""
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:0: Cannot assign"):
        listen(["192.0.2.1:0"])


def test_takes_over_sockets_that_listen() -> None:
    """Descriptors as systemd passes them are served like our own."""
    with closing(socket.create_server(("127.0.0.1", 0))) as passed:
        port = passed.getsockname()[1]
        (listener,) = adopt([passed.detach()])
    with closing(listener):
        assert address_of(listener) == f"127.0.0.1:{port}"


def test_takes_over_a_unix_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A Unix socket has a path for an address."""
    path = str(tmp_path_factory.mktemp("s") / "web")
    with closing(socket.socket(socket.AF_UNIX)) as passed:
        passed.bind(path)
        passed.listen()
        (listener,) = adopt([passed.detach()])
    with closing(listener):
        assert address_of(listener) == path
