"""LVM's configuration language, as dumpconfig prints it and profiles are written.

Only for an LVM too old to resolve its own settings; see policy.py.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from exporter.errors import ParseError

TOKEN = re.compile(
    r"""\s+|\#[^\n]*                                     # not a token
    |("(?:\\.|[^"\\])*"|'[^']*'|[{}=\[\],]|[^\s{}=\[\],#"']+)""",
    re.VERBOSE | re.DOTALL,
)
MARKS = frozenset("{}=[],")
MAX_DEPTH = 8  # LVM's own sections contain none


def parse_config(text: str, *, source: str) -> dict[str, str]:
    """Read settings by path, such as activation/thin_pool_autoextend_threshold.

    Shape: `section { key=value }` or `section/key = value`, in any layout, with comments;
        a list keeps its commas. Quotes are taken off; the last of two settings counts.
    Raises ParseError. Source: lvm.conf(5), "SYNTAX"; lvm2 libdm/libdm-config.c, _section.
    """
    tokens = deque(_tokens(text, source))
    settings: dict[str, str] = {}
    sections: list[str] = []
    while tokens:
        name = tokens.popleft()
        if name == "}" and sections:
            sections.pop()
        elif name not in MARKS and tokens and tokens[0] == "{":
            tokens.popleft()
            sections.append(_unquoted(name))
            if len(sections) > MAX_DEPTH:
                raise ParseError(source, text, "sections within sections without end")
        elif name not in MARKS and len(tokens) > 1 and tokens[0] == "=":
            tokens.popleft()
            settings["/".join((*sections, _unquoted(name)))] = _value(tokens, text, source)
        else:
            raise ParseError(source, text, f"misplaced {name}")
    if sections:
        raise ParseError(source, text, f"{sections[-1]} does not end")
    return settings


def _tokens(text: str, source: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        found = TOKEN.match(text, position)
        if found is None:
            raise ParseError(source, text[position:], "no token")
        if found[1]:
            yield found[1]
        position = found.end()


def _value(tokens: deque[str], text: str, source: str) -> str:
    value = tokens.popleft()
    if value in MARKS - {"["}:
        raise ParseError(source, text, f"{value} is no value")
    if value != "[":
        return _unquoted(value)
    items = []
    while tokens and tokens[0] != "]":
        items.append(_unquoted(tokens.popleft()))
    if not tokens:
        raise ParseError(source, text, "a list does not end")
    tokens.popleft()
    return "".join(items)


def _unquoted(token: str) -> str:
    return token[1:-1] if token[0] in "\"'" else token
