"""What lvm.conf says of dmeventd's command and of thin_check, by LVMs of every age."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from exporter.command import Output
from exporter.errors import CommandFailedError, CommandStuckError, HostError
from exporter.model import LvmSettings
from exporter.sources import lvm_settings

FULL = 'thin_command="lvm lvextend --use-policies"\nthin_check_executable="/sbin/thin_check"\n'
DUMP = 'dmeventd {\n\tthin_command="/bin/mail"\n}\nglobal {\n\tthin_check_executable=""\n}\n'

Run = Callable[[Sequence[str]], Output]


def answering(*answers: str | HostError) -> Run:
    """Make what answers one command after the other."""
    left = list(answers)

    def run(argv: Sequence[str]) -> Output:
        answer = left.pop(0)
        if isinstance(answer, HostError):
            raise answer
        return Output(argv=tuple(argv), status=0, stdout=answer, stderr="")

    return run


def failed(status: int, stdout: str = "") -> CommandFailedError:
    """Make a failure of lvmconfig."""
    return CommandFailedError(("lvm", "lvmconfig"), status, "no", stdout=stdout)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([FULL], LvmSettings(thin_command="lvm lvextend --use-policies")),
        # An LVM that knows one of them prints it, and fails.
        ([failed(5, 'thin_check_executable="/x"\n')], LvmSettings(missing_thin_check="/x")),
        ([failed(2), DUMP], LvmSettings(thin_command="/bin/mail")),
        ([failed(3), ""], LvmSettings()),
        ([failed(5)], LvmSettings()),
    ],
)
def test_reads_what_each_lvm_tells(
    answers: Sequence[str | HostError], expected: LvmSettings
) -> None:
    """What one does not know, or does not print, is unknown; no program is none missing."""
    found = lvm_settings.read(answering(*answers), "lvm", {"/sbin/thin_check"}.__contains__)

    assert found == expected


def test_an_lvm_that_does_not_answer_is_an_error() -> None:
    """The caller decides what that is worth."""
    with pytest.raises(HostError):
        lvm_settings.read(answering(CommandStuckError(("lvm",), 1)), "lvm", lambda _: True)
