"""The configuration's text: YAML in, a tree of names and written values out.

YAML's events are read directly and each value is kept as it was written: neither
`mode: off` nor `reserve: 010` passes through YAML 1.1's guesses, no tag builds an
object, and no alias multiplies the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml
from msgspec import Struct

from exporter.units import quoted

MAX_DEPTH = 8  # a pool's key has depth 3
Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]
LOADER: Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Scalar(Struct, frozen=True):
    """A value as it is written, without its quotes."""

    text: str
    is_plain: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing is written, or YAML's word for nothing."""
        return self.is_plain and self.text in {"", "~", "null"}


# None stands for a value whose fault is noted already.
Tree = Scalar | dict[str, "Tree | None"]
Names = tuple[str, ...]
Faults = list[str]
Events = Iterator[yaml.Event]


def read_yaml(text: str, loader: Loader, faults: Faults) -> Tree | None:
    """Read the one document; None where there is none, or none that can be read."""
    try:
        events = yaml.parse(text, loader)
        starts = (event for event in events if isinstance(event, yaml.NodeEvent))
        nodes = [_node(event, events, (), faults=faults) for event in starts]
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The latter for an escape, or a version of YAML, that is no number of its kind.
        faults.append(_syntax_fault(error))
        return None
    if len(nodes) > 1:
        faults.append("the file: more than one document")
    return nodes[0] if nodes else None


def _syntax_fault(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())  # a sign that YAML does not allow, and its position


def _node(event: yaml.Event, events: Events, path: Names, *, faults: Faults) -> Tree | None:
    """Read one value, which begins with `event`."""
    if problem := _problem(event):
        faults.append(f"{_dotted(path)}: {problem} ({_line(event)})")
        _skip(event, events)
        return None
    if isinstance(event, yaml.ScalarEvent):
        return Scalar(event.value, not event.style)
    return _members(events, path, faults)


def _problem(event: yaml.Event) -> str:
    """Say what YAML allows here and we do not."""
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        return "anchors and aliases are not allowed"
    if (
        isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        and event.tag is not None
    ):
        return f"the tag {quoted(event.tag)} is not allowed"
    return "takes no list" if isinstance(event, yaml.SequenceStartEvent) else ""


def _members(events: Events, path: Names, faults: Faults) -> dict[str, Tree | None]:
    """Read a mapping's keys and values to its end."""
    members: dict[str, Tree | None] = {}
    while isinstance(event := next(events), yaml.NodeEvent):
        if not isinstance(event, yaml.ScalarEvent) or len(path) >= MAX_DEPTH:
            raise _stop(event)
        name = event.value
        value = _node(next(events), events, (*path, name), faults=faults)
        if name in members:
            faults.append(f"{_dotted((*path, name))}: written twice, again in {_line(event)}")
        members.setdefault(name, value)
    return members


def _skip(event: yaml.Event, events: Events) -> None:
    """Pass over the rest of a value."""
    depth = int(isinstance(event, yaml.CollectionStartEvent))
    while depth:
        event = next(events)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _stop(event)


def _stop(event: yaml.Event) -> yaml.YAMLError:
    """Read no further: YAML's readers take quadratic time for what is nested deeply."""
    return yaml.YAMLError(f"{_line(event)}: not a plain mapping of keys to values")


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}" if event.start_mark else "an unknown line"


def _dotted(path: Names) -> str:
    return ".".join(map(shown, path)) or "the file"


def shown(name: str) -> str:
    """Quote a name that could be mistaken for something else."""
    return name if re.fullmatch(r"[\w+./-]{1,200}", name, re.ASCII) else quoted(name)
