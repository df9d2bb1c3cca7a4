"""Programs of Debian's that tests run: found, or the test is left out, where it may be."""

from __future__ import annotations

import os
import shutil
from enum import Enum

import pytest

from tests import next_prometheus


class Edition(Enum):
    """Which Prometheus and Alertmanager: this host's, or those of Debian's next release."""

    INSTALLED = "installed"
    NEXT = "next"

    def find(self, program: str) -> str | None:
        """Return the path of a program, if it is there."""
        is_next = self is Edition.NEXT
        return shutil.which(program, path=str(next_prometheus.directory()) if is_next else None)


def need(program: str, packages: str, edition: Edition = Edition.INSTALLED) -> str:
    """Find a program, which must be there where nothing may be left out."""
    path = edition.find(program)
    is_next = edition is Edition.NEXT
    remedy = "make prometheus-next" if is_next else f"apt-get install {packages}"
    if path is None and not is_all_required():
        pytest.skip(f"{program} is missing: {remedy}")
    assert path, f"{program} is missing: {remedy}"
    return path


def is_all_required() -> bool:
    """Whether nothing may be left out."""
    return os.environ.get("THINPOOL_REQUIRE_ALL") == "1"
