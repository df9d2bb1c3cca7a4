"""The command line: flags in, an exit status out. Knows every command, does nothing itself."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import structlog

from exporter import __version__, log
from exporter.cli.starting import DEFAULT_ADDRESS, DEFAULT_CONFIG
from exporter.errors import ConfigError, ExporterError, ListenError
from exporter.model import GuardMode

DEFAULT_STATE = Path("/run/thinpool-exporter")

# The units set it to their name.
UNIT_VARIABLE = "THINPOOL_UNIT"
SERVICES = {"run", "guard", "web"}
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3

logger = structlog.get_logger("exporter")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    unit = os.environ.pop(UNIT_VARIABLE, "")
    try:
        options = _parser().parse_args(argv, argparse.Namespace(unit=unit))
    except SystemExit as error:
        if error.code:
            _delay_restart(unit)
        raise
    if options.module not in SERVICES:
        unit = ""  # a reload runs check-config with the unit's environment
    log.configure(options.log_level, options.log_format)
    threading.excepthook = _log_thread_death
    try:
        # One of exporter/cli: only what this command needs is loaded.
        status: int = import_module(f"exporter.cli.{options.module}").main(options)
    except ConfigError as error:
        for fault in error.faults:
            sys.stderr.write(f"{fault}\n")
        _delay_restart(unit)
        return EXIT_USAGE
    except ExporterError as error:
        sys.stderr.write(f"thinpool-exporter: {error}\n")
        if isinstance(error, ListenError):
            _delay_restart(unit)
        return EXIT_UNKNOWN if options.module == "check" else EXIT_FAILED
    except BrokenPipeError:
        # The reader has left (`… | head`): nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    finally:
        log.flush()
    return status


def _delay_restart(unit: str) -> None:
    if unit:  # loaded only if it is needed: a web side that runs needs none of it
        import_module("exporter.cli.restarts").delay_restart(unit)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thinpool-exporter",
        description="Watches thin pools, and keeps them from filling up.",
    )
    version = f"thinpool-exporter {__version__} (Python {sys.version.split()[0]})"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    common, hosting, serving = _common_flags(), _hosting_flags(), _serving_flags()
    web_config = _web_config_flag()

    def add(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
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
    add("check", check, hosting)
    collect = add("collect", "Collect once and print the metrics.", hosting)
    collect.add_argument(
        "--output",
        type=Path,
        default=Path("-"),
        metavar="FILE",
        help="write to this file, atomically; -, the default, is standard output",
    )
    return parser


def _hosting_flags() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False)
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


def _common_flags() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False)
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


def _serving_flags() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument(
        "--web.listen-address",
        dest="addresses",
        action="append",
        metavar="ADDRESS",
        help=f"HOST:PORT to serve at, may be repeated (default {DEFAULT_ADDRESS})",
    )
    flags.add_argument(
        "--web.telemetry-path", dest="telemetry_path", default="/metrics", metavar="PATH"
    )
    flags.add_argument(
        "--web.systemd-socket",
        dest="is_activated",
        action="store_true",
        help="serve at the sockets that systemd passes, and not at an address",
    )
    return flags


def _web_config_flag() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False)
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
