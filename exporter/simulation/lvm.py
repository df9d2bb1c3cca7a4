"""lvm's commands that only read: version, the reports, and the configuration."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.simulation.arguments import FAILED, INVALID_COMMAND_LINE, LvmError, parse
from exporter.simulation.lvm_config import missing_profile
from exporter.simulation.report import OPTIONS, report
from exporter.simulation.scanning import scan_warnings
from exporter.simulation.state import HostState

VERSION = """\
  LVM version:     2.03.16(2) (2022-05-18)
  Library version: 1.02.185 (2022-05-18)
  Driver version:  4.47.0
  Configuration:   ./configure --build=x86_64-linux-gnu --prefix=/usr --with-thin=internal
"""
COMMAND_NAMES = "log/command_names"
REPORTS = frozenset({"lvs", "vgs", "pvs"})
CONFIG_OPTIONS = {"--type": True, "--typeconfig": True, "--metadataprofile": True}
NO_SUCH_COMMAND = 2  # tools/errors.h


def lvm(state: HostState, command: str, words: Sequence[str]) -> tuple[int, str, str]:
    """Run `lvm COMMAND …`: exit status, stdout and stderr."""
    try:
        stdout, unknown = _answer(state, command, words)
    except LvmError as error:
        return error.status, "", _text(error.lines)
    warnings = scan_warnings(state) if command in REPORTS else []
    return (FAILED if unknown else 0), stdout, _text([*warnings, *unknown])


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _answer(state: HostState, command: str, words: Sequence[str]) -> tuple[str, list[str]]:
    if command == "version":
        return VERSION, []
    if command == "systemid":
        return "  system ID: \n", []
    if command in REPORTS:
        text, unknown = report(state, command, words)
        return _formed(state, command, words, text), unknown
    if command in {"lvmconfig", "dumpconfig"}:
        return _lvmconfig(state, words), []
    raise LvmError("  No such command.  Try 'lvm help'.", status=NO_SUCH_COMMAND)


def _formed(state: HostState, command: str, words: Sequence[str], text: str) -> str:
    """Put the command's name before each line, as lvm.conf may ask unless --config forbids."""
    told = parse(command, words, OPTIONS).options.get("--config", "")
    if not state.config.values.get(COMMAND_NAMES) or "command_names=0" in told:
        return text
    return "".join(f"{command:<4}{line}\n" for line in text.splitlines())


def _lvmconfig(state: HostState, words: Sequence[str]) -> str:
    arguments = parse("lvmconfig", words, CONFIG_OPTIONS)
    if arguments.options.get("--type", "full") != "full":
        line = "  The simulated host knows --type full only."
        raise LvmError(line, status=INVALID_COMMAND_LINE)
    profile = arguments.options.get("--metadataprofile")
    if profile and profile not in state.config.profiles:
        message = f"  Failed to apply metadata profile {profile}."
        raise LvmError(missing_profile(profile).rstrip("\n"), message)
    unknown = [name for name in arguments.names if name not in state.config.values]
    if unknown:
        raise LvmError(*(f"  Configuration node {name} not found" for name in unknown))
    return "".join(state.config.line(name, profile) for name in arguments.names)
