"""An HTTP answer as it comes over a socket: bytes in, status and body out. Pure.

For local daemons alone: no redirects, no compression, no connection that is used again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

HEAD_END = b"\r\n\r\n"
LINE_END = b"\r\n"
STATUS = re.compile(r"HTTP/1\.[01] ([1-9][0-9]{2})(?: .*)?")
LENGTH = re.compile(r"[0-9]{1,10}")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
MAX_HEAD_BYTES = 65536
MAX_CHUNK_LINE_BYTES = 4096


class MalformedAnswerError(Exception):
    """What came is no HTTP answer, or was cut short."""


class Answer(Struct, frozen=True):
    """A whole answer."""

    status: int
    text: str


def parse_answer(raw: bytes, *, is_over: bool) -> Answer | None:
    """Read an answer; None while more has to come.

    Shape: status line, headers, an empty line, and the body: in chunks, as long as its
        Content-Length says, or up to the connection's end (`is_over`).
    Raises MalformedAnswerError. Source: RFC 9112, sections 4, 6 and 7.
    """
    head, end, body = raw.partition(HEAD_END)
    if not end:
        if is_over or len(raw) > MAX_HEAD_BYTES:
            raise MalformedAnswerError("no HTTP answer" if raw else "closed without an answer")
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    status = STATUS.fullmatch(first)
    if status is None:
        raise MalformedAnswerError("no HTTP answer")
    whole = _body(_headers(lines), body, is_over=is_over)
    if whole is None and is_over:
        raise MalformedAnswerError("the answer was cut short")
    if whole is None:
        return None
    return Answer(int(status[1]), whole.decode("utf-8", "backslashreplace"))


def _headers(lines: list[str]) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


def _body(headers: Mapping[str, str], body: bytes, *, is_over: bool) -> bytes | None:
    if headers.get("transfer-encoding", "identity") != "identity":
        return _joined(body)
    length = headers.get("content-length")
    if length is None:
        return body if is_over else None
    if not LENGTH.fullmatch(length):
        raise MalformedAnswerError("no length")
    return body[: int(length)] if len(body) >= int(length) else None


def _joined(body: bytes) -> bytes | None:
    """Put chunks together; what follows the last one says nothing of the body."""
    joined = bytearray()
    start = 0
    while (end := body.find(LINE_END, start, start + MAX_CHUNK_LINE_BYTES)) >= 0:
        size = CHUNK_SIZE.fullmatch(body, start, end)
        if size is None:
            raise MalformedAnswerError("no chunk")
        length = int(size[1], 16)
        if not length:
            return bytes(joined)
        first = end + len(LINE_END)
        start = first + length + len(LINE_END)
        if len(body) < start:
            return None
        joined += body[first : first + length]
    if len(body) - start >= MAX_CHUNK_LINE_BYTES:
        raise MalformedAnswerError("no chunk")
    return None
