"""Foreign names: shown without harm, and quoted so that a shell gives them back."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.model import Usage
from exporter.report.finding import write_file
from exporter.report.text import (
    command,
    is_plain,
    operand,
    percent,
    quoted,
    short_bytes,
    shown,
    size_argument,
    whole_percent,
)

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.text())
def test_whatever_is_shown_is_plain(text: str) -> None:
    """No control character, no pipe, nothing beyond ASCII, no second line."""
    assert all(is_plain(sign) for sign in shown(text))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="|")))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    """Escaping is for what needs it."""
    assert shown(text) == text


@given(st.lists(NAMES, min_size=1))
def test_whatever_is_quoted_is_plain(words: list[str]) -> None:
    """A command is one line of ASCII too."""
    assert all(is_plain(sign) for sign in command(*words))


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=123)), min_size=1))
def test_a_shell_splits_a_command_into_its_words(words: list[str]) -> None:
    """Printable words survive every POSIX shell."""
    assert shlex.split(command(*words)) == words


@settings(max_examples=25, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=20))
def test_bash_gives_every_word_back(words: list[str]) -> None:
    """Whatever the name, what is pasted means it and nothing else."""
    assert _bash(command("printf", "%s\\0", *words)) == _joined(words)


def test_bytes_that_are_no_text_come_back() -> None:
    """A name that a program printed in another encoding keeps its bytes."""
    assert _bash(command("printf", "%s\\0", "a\udcff")) == b"a\xff\0"


def test_a_lone_surrogate_does_not_end_the_report() -> None:
    """Not even text that no program can have printed."""
    assert quoted("\ud800") == "$'\\xed\\xa0\\x80'"


def test_writes_a_file_in_one_line(tmp_path: object) -> None:
    """The command for a profile can be pasted with its indentation."""
    path = f"{tmp_path}/it's a.profile"
    _bash("    " + write_file(path, ("activation {", "  a=1", "}")).text)

    with open(path) as file:  # noqa: PTH123 - the path is the shell's business
        assert file.read() == "activation {\n  a=1\n}\n"


def _bash(line: str) -> bytes:
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, check=True, timeout=60
    ).stdout


def _joined(words: list[str]) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)


def test_a_name_is_never_an_option() -> None:
    """A name that begins with a dash comes after the end of the options."""
    assert operand("-f") == ("--", "-f")
    assert operand("docker/thinpool") == ("docker/thinpool",)


@pytest.mark.parametrize(
    ("used", "total", "text", "whole"),
    [
        (0, 10**6, "0.00 %", 0),
        (1, 10**6, "0.01 %", 0),
        (10**6 - 1, 10**6, "99.99 %", 99),
        (10**6, 10**6, "100.00 %", 100),
        (912_345, 10**6, "91.23 %", 91),
    ],
)
def test_percent_is_exact_at_its_ends(used: int, total: int, text: str, whole: int) -> None:
    """Only empty is 0.00, and only full is 100.00."""
    usage = Usage(used_blocks=used, total_blocks=total, block_bytes=4096)

    assert (percent(usage), whole_percent(usage)) == (text, whole)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(3 * 2**30, "3072m"), (5 * 2**10, "5k"), (513, "513b"), (4 * 2**20, "4m")],
)
def test_sizes_are_exact_for_lvm(size_bytes: int, text: str) -> None:
    """In the largest of LVM's units that divides them."""
    assert size_argument(size_bytes) == text


def test_short_sizes_lose_no_figure() -> None:
    """Empty decimals alone are left out."""
    assert (short_bytes(4 * 2**20), short_bytes(6 * 2**18)) == ("4 MiB", "1.50 MiB")
