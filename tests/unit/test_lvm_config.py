"""LVM's configuration language, of the versions that do not resolve it themselves."""

from __future__ import annotations

import pytest

from exporter.errors import ParseError
from exporter.sources.lvm_config import parse_config


def test_reads_sections_paths_lists_and_comments() -> None:
    """As dumpconfig prints them and as people write them."""
    text = """
# a comment { with = marks
activation {
\tthin_pool_autoextend_threshold=80   # percent
\tvolume_list=["docker", "my-vg"]
\tnested { deep = 'it is' }
}
activation/thin_pool_autoextend_percent = 20
config/profile_dir="/etc/lvm/pro\\"file"
devices { filter = [
   "a|^/dev/loop|", "r|.*|"
] empty=[] }
activation { thin_pool_autoextend_threshold=70 }
"""
    assert parse_config(text, source="x") == {
        "activation/thin_pool_autoextend_threshold": "70",
        "activation/volume_list": "docker,my-vg",
        "activation/nested/deep": "it is",
        "activation/thin_pool_autoextend_percent": "20",
        "config/profile_dir": '/etc/lvm/pro\\"file',
        "devices/filter": "a|^/dev/loop|,r|.*|",
        "devices/empty": "",
    }


@pytest.mark.parametrize(
    "text",
    ["a", "a=", "a={", "=", "{", "}", "a {", "a = [ 1", "a = ]", 'a = "b', "a = 'b", "a b = 1"],
)
def test_what_is_none_is_an_error(text: str) -> None:
    """One error, which names where it stands."""
    with pytest.raises(ParseError, match="profile"):
        parse_config(text, source="profile")


def test_nothing_sets_nothing() -> None:
    """An empty profile is one."""
    assert parse_config("  # nothing\n", source="x") == {}
