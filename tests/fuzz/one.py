"""The fuzzer on one parser: `python -m tests.fuzz.one NAME [LIBFUZZER'S OWN ARGUMENTS]`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["exporter", "yaml", "tests.fuzz"]):
    from tests.fuzz.mutate import mutate_json
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Hand every input of the fuzzer to the parser's check."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.enabled_hooks.add("RegEx")
    if target.is_json:
        atheris.Setup(sys.argv, target.check, custom_mutator=mutate)
    else:
        atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()


def mutate(raw: bytes, limit: int, seed: int) -> bytes:
    """See atheris.Setup."""
    return mutate_json(raw, limit, seed, atheris.Mutate)


if __name__ == "__main__":
    main()
