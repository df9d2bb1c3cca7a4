"""Programs of Debian's that tests run: found, or the test is left out, where it may be."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str, packages: str) -> str:
    """Find a program, which must be there where nothing may be left out."""
    path = shutil.which(program)
    if path is None and os.environ.get("THINPOOL_REQUIRE_ALL") != "1":
        pytest.skip(f"{program} is missing: apt-get install {packages}")
    assert path, f"{program} is missing"
    return path
