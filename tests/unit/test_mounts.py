"""The table of mounts: which one a path is on, through links and below hidden directories."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.sources.mounts import Mounts, UnresolvedPathError, parse_mountinfo

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 253:5 /sub /srv/docker rw,relatime shared:7 master:1 - xfs /dev/mapper/vg-docker rw,attr2
31 22 0:45 / /data rw - btrfs /dev/sdb rw,subvol=/
32 22 253:9 / /srv/with\040blank rw - ext4 /dev/dm-9 rw
33 22 253:6 / /home/docker rw - ext4 /dev/dm-6 rw
34 22 0:50 / /home rw - tmpfs tmpfs rw,mode=755
35 30 253:7 / /srv/docker rw shared:9 - ext4 /dev/dm-7 rw
36 22 0:60 / /net rw - nfs4 server:/export rw
no mount at all
37 22 0:61 / /short rw - nfs4
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    """Give the table's mounts, their files below a directory of the test."""
    return Mounts(parse_mountinfo(TABLE), str(tmp_path))


@pytest.mark.parametrize(
    ("path", "device"),
    [
        ("/", "254:0"),
        ("/var/lib/docker", "254:0"),
        ("/srv", "254:0"),
        ("/srv/docker", "253:7"),  # mounted over an earlier one
        ("/srv/docker/overlay2", "253:7"),
        ("/srv/docker2", "254:0"),
        ("/srv/with blank/x", "253:9"),
        ("/home/docker", "0:50"),  # its own mount lies below that of /home
        ("/data/a", "0:45"),
    ],
)
def test_finds_the_mount_that_is_on_top(mounts: Mounts, path: str, device: str) -> None:
    """The longest way through the mounts, of which later ones hide earlier ones."""
    found = mounts.covering(path)

    assert found is not None
    assert found.device == device


def test_a_line_holds_source_type_and_options() -> None:
    """Whatever number of tags stands before them."""
    _, line, *_ = parse_mountinfo(TABLE)

    assert (line.file_system, line.source) == ("xfs", "/dev/mapper/vg-docker")
    assert line.options == {"rw": "", "attr2": ""}


def test_without_a_root_nothing_is_known() -> None:
    """As of a table that could not be read."""
    assert Mounts(()).covering("/var") is None
    assert Mounts(()).resolved("/var/lib") == "/var/lib"


def test_follows_links_as_far_as_the_path_goes(mounts: Mounts, tmp_path: Path) -> None:
    """Absolute and relative ones, within the root that was given."""
    (tmp_path / "var" / "lib").mkdir(parents=True)
    (tmp_path / "big").mkdir()
    (tmp_path / "var" / "lib" / "docker").symlink_to("../../srv/./link")
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv" / "link").symlink_to("/big/docker")

    assert mounts.resolved("/var/lib/docker/overlay2") == "/big/docker/overlay2"
    assert mounts.resolved("/var/lib/other") == "/var/lib/other"


def test_touches_nothing_of_the_network(mounts: Mounts, tmp_path: Path) -> None:
    """A server that is gone would keep us waiting."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "docker").symlink_to("/elsewhere")

    assert mounts.resolved("/net/docker") == "/net/docker"


def test_links_that_never_end_are_an_error(mounts: Mounts, tmp_path: Path) -> None:
    """As the kernel has it."""
    (tmp_path / "loop").symlink_to("/loop")

    with pytest.raises(UnresolvedPathError, match="too many symbolic links"):
        mounts.resolved("/loop")


def test_a_link_that_cannot_be_read_is_an_error(mounts: Mounts) -> None:
    """It might lead anywhere."""
    with pytest.raises(UnresolvedPathError, match="File name too long"):
        mounts.resolved(f"/{'x' * 300}/docker")


LINES = st.lists(
    st.text(max_size=40)
    | st.builds(
        "{} {} 0:1 / {} rw - ext4 /dev/x rw".format,
        st.integers(0, 5),
        st.integers(0, 5),
        st.sampled_from(["/", "/a", "/a/b", "/a\\040b", ""]),
    ),
    max_size=12,
).map("\n".join)


@given(LINES, st.sampled_from(["/", "/a", "/a/b/c", "/ab"]))
def test_any_table_comes_to_an_end(text: str, path: str) -> None:
    """With mounts that are their own parents, of each other, or none."""
    found = Mounts(parse_mountinfo(text)).covering(path)

    assert found is None or path.startswith(found.mount_point)
