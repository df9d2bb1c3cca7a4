"""The command line: flags in, an exit status out. Knows every command, does nothing itself."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import structlog

from exporter import __version__, log
from exporter.cli.starting import DEFAULT_ADDRESS, DEFAULT_CONFIG
from exporter.errors import ConfigError, ExporterError, ListenError
from exporter.model import GuardMode
from exporter.units import parse_duration_seconds

DEFAULT_STATE = Path("/run/thinpool-exporter")

# The units set it to their name.
UNIT_VARIABLE = "THINPOOL_UNIT"
SERVICES = {"run", "guard", "web"}
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3
# check_nrpe and most other ways to run a plugin wait ten seconds.
CHECK_SECONDS = 9.0
MOST_MAINTENANCE_SECONDS = 7 * 24 * 3600.0
LEAST_CHECK_SECONDS, MOST_CHECK_SECONDS = 1.0, 3600.0

logger = structlog.get_logger("exporter")


class UsageError(ExporterError):
    """The command line cannot be understood; `details` has the command's usage too."""

    def __init__(self, details: str, message: str) -> None:
        super().__init__(message)
        self.details = details


class Parser(argparse.ArgumentParser):
    """Raises UsageError in place of ending the process: `check` answers on stdout."""

    def error(self, message: str) -> NoReturn:
        """See ArgumentParser.error."""
        details = f"{self.format_usage()}{self.prog}: error: {message}\n"
        raise UsageError(details, message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    unit = os.environ.pop(UNIT_VARIABLE, "")
    arguments = sys.argv[1:] if argv is None else argv
    command = arguments[0] if arguments else ""
    if command not in SERVICES:
        unit = ""  # a reload runs check-config with the unit's environment
    run = _run_check if command == "check" else partial(_run, unit=unit)
    try:
        return run(arguments)
    except BrokenPipeError:
        # The reader has left (`… | head`): nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNKNOWN if run is _run_check else EXIT_FAILED
    finally:
        log.flush()


def _run(arguments: Sequence[str], *, unit: str) -> int:
    """Run any command but `check`; `unit` is that of systemd which runs it, if any."""
    try:
        return _run_module(_parser().parse_args(arguments, argparse.Namespace(unit=unit)))
    except ExporterError as error:
        _complain(error)
        if unit and isinstance(error, (UsageError, ConfigError, ListenError)):
            # Loaded only if it is needed: a web side that runs needs none of it.
            import_module("exporter.cli.restarts").delay_restart(unit)
        return EXIT_USAGE if isinstance(error, (UsageError, ConfigError)) else EXIT_FAILED


def _run_check(arguments: Sequence[str]) -> int:
    """Run `check`: whatever goes wrong, it says so on stdout and is unknown.

    A monitoring system would take another exit status for a state of the pools.
    """
    output = "plugin"
    try:
        options = _parser().parse_args(arguments)
        output = options.output
        status = _run_module(options)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        _complain(error)
        from exporter.report import Output, print_failure  # noqa: PLC0415 - memory of the others

        with contextlib.suppress(AttributeError):  # stdout is closed
            print_failure(_in_short(error), sys.stdout, Output(output))
        return EXIT_UNKNOWN
    return status


def _complain(error: Exception) -> None:
    with contextlib.suppress(AttributeError):  # stderr is closed
        sys.stderr.write(_details(error))


def _details(error: Exception) -> str:
    if isinstance(error, UsageError):
        return error.details
    if isinstance(error, ConfigError):
        return "".join(f"{fault}\n" for fault in error.faults)
    if isinstance(error, ExporterError):
        return f"thinpool-exporter: {error}\n"
    return traceback.format_exc()


def _in_short(error: Exception) -> str:
    if isinstance(error, ConfigError) and len(error.faults) > 1:
        return f"{error.faults[0]} (faults in all: {len(error.faults)})"
    is_ours = isinstance(error, ExporterError)
    return str(error) if is_ours else f"{type(error).__name__}: {error}"


def _run_module(options: argparse.Namespace) -> int:
    log.configure(options.log_level, options.log_format)
    threading.excepthook = _log_thread_death
    # One of exporter/cli: only what this command needs is loaded.
    status: int = import_module(f"exporter.cli.{options.module}").main(options)
    return status


def _parser() -> Parser:
    parser = Parser(
        prog="thinpool-exporter",
        description="Watches thin pools, and keeps them from filling up.",
    )
    version = f"thinpool-exporter {__version__} (Python {sys.version.split()[0]})"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    common, hosting, serving = _common_flags(), _hosting_flags(), _serving_flags()
    web_config = _web_config_flag()

    def add(name: str, text: str, *parents: Parser) -> Parser:
        command = commands.add_parser(
            name, help=text, description=text, parents=(common, *parents), allow_abbrev=False
        )
        command.set_defaults(module=name.replace("-", "_"))
        return command

    run = "Collect, guard and serve in one process."
    add("run", run, hosting, serving, web_config)
    add("guard", "Collect and guard; publish to a file what `web` serves.", hosting)
    web = "Serve what `guard` publishes; needs no privileges."
    add("web", web, serving, web_config)
    demo = "Do what `run` does, on a simulated host."
    add("demo", demo, hosting, serving, web_config)
    faults = "Show every fault of the configuration."
    # It takes all flags of the web side, so that a whole command line can be checked.
    add("check-config", faults, hosting, serving, web_config)
    check = "Report on every pool; exit 0 ok, 1 warning, 2 critical, 3 unknown."
    _add_check_flags(add("check", check, hosting))
    collect = add("collect", "Collect once and print the metrics.", hosting)
    _add_live_flag(collect)
    collect.add_argument(
        "--output",
        type=Path,
        default=Path("-"),
        metavar="FILE",
        help="write to this file, atomically; -, the default, is standard output",
    )
    maintenance = "Hold this host's alerts back while you work on it; without arguments, tell."
    _add_maintenance_flags(add("maintenance", maintenance))
    return parser


def _add_maintenance_flags(maintenance: Parser) -> None:
    maintenance.add_argument(
        "seconds",
        nargs="?",
        type=_maintenance_time,
        metavar="DURATION",
        help="from now on, at most 7d: 30m, 2h",
    )
    maintenance.add_argument(
        "--reason", default="", metavar="TEXT", help="shown on the status page and by check"
    )
    maintenance.add_argument(
        "--end", dest="is_end", action="store_true", help="end the maintenance now"
    )


def _maintenance_time(text: str) -> float:
    try:
        seconds = parse_duration_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not 0 < seconds <= MOST_MAINTENANCE_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not between 1s and 7d")
    return seconds


def _add_live_flag(command: Parser) -> None:
    command.add_argument(
        "--live",
        dest="is_live",
        action="store_true",
        help="read the host even if a guard publishes a fresh Snapshot",
    )


def _add_check_flags(check: Parser) -> None:
    check.add_argument(
        "pools", nargs="*", metavar="VG/POOL", help="report on these pools only (default: all)"
    )
    check.add_argument(
        "--output",
        choices=("text", "plugin", "json"),
        default="text",
        metavar="FORM",
        help="text (default), plugin (one line with performance data) or json",
    )
    check.add_argument(
        "--brief",
        dest="is_brief",
        action="store_true",
        help="print one line for each pool, without figures and remedies",
    )
    check.add_argument(
        "--timeout",
        dest="timeout_seconds",
        type=_timeout,
        default=CHECK_SECONDS,
        metavar="SECONDS",
        help=f"report what has been read after this long (default {CHECK_SECONDS:g})",
    )
    _add_live_flag(check)
    check.add_argument(
        "--demo",
        dest="is_demo",
        action="store_true",
        help="report on the simulated host of `demo` instead",
    )


def _timeout(text: str) -> float:
    """Read seconds, as monitoring plugins take them."""
    least, most = LEAST_CHECK_SECONDS, MOST_CHECK_SECONDS
    with contextlib.suppress(ValueError):
        if least <= float(text) <= most:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not {least:g} to {most:g} seconds")


def _hosting_flags() -> Parser:
    flags = Parser(add_help=False)
    flags.add_argument(
        "--config.file",
        dest="config_file",
        type=Path,
        metavar="FILE",
        help=f"configuration (default {DEFAULT_CONFIG}, which need not exist)",
    )
    flags.add_argument(
        "--guard.mode",
        dest="guard_mode",
        type=GuardMode,
        choices=list(GuardMode),
        metavar="MODE",
        help="auto, always, observe or off; overrides the configuration",
    )
    return flags


def _common_flags() -> Parser:
    flags = Parser(add_help=False)
    flags.add_argument(
        "--log.level",
        dest="log_level",
        choices=("debug", "info", "warning", "error"),
        default="info",
    )
    flags.add_argument(
        "--log.format",
        dest="log_format",
        choices=("auto", "json", "logfmt", "console"),
        default="auto",
    )
    flags.add_argument(
        "--state.directory",
        dest="state",
        type=Path,
        default=DEFAULT_STATE,
        metavar="DIR",
        help=f"lock, memory and published Snapshot of the guard (default {DEFAULT_STATE})",
    )
    return flags


def _serving_flags() -> Parser:
    flags = Parser(add_help=False)
    flags.add_argument(
        "--web.listen-address",
        dest="addresses",
        action="append",
        metavar="ADDRESS",
        help=f"HOST:PORT to serve at, may be repeated (default {DEFAULT_ADDRESS})",
    )
    flags.add_argument(
        "--web.telemetry-path",
        dest="telemetry_path",
        type=_telemetry_path,
        default="/metrics",
        metavar="PATH",
        help="path of the metrics (default /metrics)",
    )
    flags.add_argument(
        "--web.systemd-socket",
        dest="is_activated",
        action="store_true",
        help="serve at the sockets that systemd passes, and not at an address",
    )
    return flags


def _telemetry_path(path: str) -> str:
    if not path.startswith("/"):
        raise argparse.ArgumentTypeError(f"{path!r} does not begin with a slash")
    if "?" in path or "#" in path:
        raise argparse.ArgumentTypeError(f"{path!r} is more than a path")
    return path


def _web_config_flag() -> Parser:
    flags = Parser(add_help=False)
    flags.add_argument(
        "--web.config.file",
        dest="web_config_file",
        type=Path,
        metavar="FILE",
        help="TLS, passwords and limits, in the format of Prometheus' exporter-toolkit",
    )
    return flags


def _log_thread_death(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else None
    logger.error("thread_died", thread=name, exc_info=args.exc_value)


if __name__ == "__main__":
    sys.exit(main())
