"""Changes within JSON, which a change of any byte as a rule only breaks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.sources import SEPARATOR

Mutate = Callable[[bytes, int], bytes]

TEXTS = ("", "0", "-1", "00", "1_0", "١", "1e999", "nan", "[", "\0", "\ud800")
ODD: tuple[Any, ...] = (
    *(*TEXTS, "9" * 25, "9" * 5000),
    *(0, -1, 2**63, 10**25, 1e308, True, None, [], {}),
)
BYTES_SHARE = 0.3  # of the changes, left to the fuzzer's own
Place = tuple[Any, Any]  # a container, and a key or an index


def mutate_json(raw: bytes, limit: int, seed: int, mutate: Mutate) -> bytes:
    """Change one value of one of the documents; `mutate` changes bytes as libFuzzer does."""
    choice = random.Random(seed)  # noqa: S311 - so that a seed repeats the change
    parts = raw.split(SEPARATOR)
    place = choice.randrange(len(parts))
    try:
        document = json.loads(parts[place])
    except (ValueError, RecursionError):
        return mutate(raw, limit)
    places = _places(document)
    if not places or choice.random() < BYTES_SHARE:
        return mutate(raw, limit)
    _change(*choice.choice(places), choice, mutate)
    parts[place] = json.dumps(document).encode()
    return SEPARATOR.join(parts)[:limit]


def _places(value: object) -> list[Place]:
    found: list[Place] = []
    left = [value]
    while left:
        container = left.pop()
        keys: list[Any] = []
        if isinstance(container, dict):
            keys = list(container)
        elif isinstance(container, list):
            keys = list(range(len(container)))
        found += [(container, key) for key in keys]
        left += [container[key] for key in keys]  # type: ignore[index]
    return found


def _change(container: Any, key: Any, choice: random.Random, mutate: Mutate) -> None:  # noqa: ANN401
    old = container[key]
    what = choice.randrange(4)
    if what == 0:
        del container[key]
    elif what == 1 and isinstance(container, list):
        container.append(old)
    elif what == 2 and isinstance(old, str):
        changed = mutate(old.encode("utf-8", "replace"), len(old) + 8)
        container[key] = changed.decode("utf-8", "replace")
    else:
        container[key] = choice.choice(ODD)
