"""The command line: flags in, an exit status out. Knows every module, does nothing itself."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog
from msgspec import structs

from exporter import __version__, log
from exporter.config import Settings, load
from exporter.errors import ConfigError, ExporterError
from exporter.model import GuardMode, Snapshot
from exporter.notify import Notifier

# Each command imports its own side in its function: what the other one needs would take each
# process four to six MiB, and a sixth of a second at its start.
if TYPE_CHECKING:
    from exporter.collection import HostAccess
    from exporter.guard import Clocks
    from exporter.guard.memory import MemoryFile
    from exporter.service.reloading import Reloading
    from exporter.service.serving import WebOptions

DEFAULT_CONFIG = Path("/etc/thinpool-exporter/config.yml")
DEFAULT_STATE = Path("/run/thinpool-exporter")
DEFAULT_ADDRESS = ":10128"

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3

logger = structlog.get_logger("exporter")


class Guarded(NamedTuple):
    """A host that this process is the guard of, and the settings that it began with."""

    host: HostAccess
    settings: Settings
    reloading: Reloading
    memory: Callable[[], MemoryFile | None] = lambda: None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(argv)
    log.configure(options.log_level, options.log_format)
    threading.excepthook = _log_thread_death
    try:
        status: int = options.handler(options)
    except ConfigError as error:
        for fault in error.faults:
            sys.stderr.write(f"{fault}\n")
        return EXIT_USAGE
    except ExporterError as error:
        sys.stderr.write(f"thinpool-exporter: {error}\n")
        return EXIT_UNKNOWN if options.handler is _check else EXIT_FAILED
    except BrokenPipeError:
        # The reader has left (`… | head`): nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    finally:
        log.flush()
    return status


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

    def add(
        name: str,
        handler: Callable[[argparse.Namespace], int],
        text: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text, parents=(common, *parents), allow_abbrev=False
        )
        command.set_defaults(handler=handler)
        return command

    run = "Collect, guard and serve in one process."
    add("run", _run, run, hosting, serving, web_config)
    add("guard", _guard, "Collect and guard; publish to a file what `web` serves.", hosting)
    web = "Serve what `guard` publishes; needs no privileges."
    add("web", _web, web, serving, web_config)
    demo = "Do what `run` does, on a simulated host."
    add("demo", _demo, demo, hosting, serving, web_config)
    faults = "Show every fault of the configuration."
    add("check-config", _check_config, faults, hosting, web_config)
    check = "Report on every pool; exit 0 ok, 1 warning, 2 critical, 3 unknown."
    add("check", _check, check, hosting)
    collect = add("collect", _collect, "Collect once and print the metrics.", hosting)
    collect.add_argument(
        "--output", type=Path, metavar="FILE", help="write to this file, atomically"
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


def _settings(options: argparse.Namespace) -> Settings:
    path = options.config_file or DEFAULT_CONFIG
    try:
        settings = load(path, required=options.config_file is not None)
    except ConfigError as error:
        raise ConfigError([_named(path, fault) for fault in error.faults]) from error
    if options.guard_mode is None:
        return settings
    return structs.replace(
        settings, guard=structs.replace(settings.guard, mode=options.guard_mode)
    )


def _named(path: Path, fault: str) -> str:
    return fault if fault.startswith(f"{path}: ") else f"{path}: {fault}"


def _host(settings: Settings) -> HostAccess:
    from exporter.collection import HostAccess  # noqa: PLC0415 - see the top
    from exporter.command import HostRunner  # noqa: PLC0415 - see the top
    from exporter.devmapper import IoctlKernel  # noqa: PLC0415 - see the top
    from exporter.dmsetup import DmsetupKernel, FallbackKernel  # noqa: PLC0415 - see the top
    from exporter.sources import archive, device_mapper, dmeventd, loop  # noqa: PLC0415 - see the top

    # Docker's client is nothing that a pool depends on; LVM's programs are.
    runner = HostRunner(expendable={settings.commands.docker})
    return HostAccess(
        runner=runner,
        kernel=FallbackKernel(
            IoctlKernel(os.environ.get("DM_DEV_DIR", "/dev")),
            DmsetupKernel(runner, settings.commands.dmsetup),
        ),
        loop_backing=loop.read,
        dmeventd=dmeventd.read,
        dmeventd_activity=dmeventd.activity,
        no_space_timeout=device_mapper.no_space_timeout,
        can_archive=lambda seconds: archive.can_archive(
            partial(runner.run, deadline_seconds=seconds), settings.commands.lvm
        ),
        close=runner.close,
    )


def _run(options: argparse.Namespace) -> int:
    with _protected(options) as guarded:
        return _serve(guarded, options)


def _guard(options: argparse.Namespace) -> int:
    from exporter.publish import SnapshotWriter  # noqa: PLC0415 - see the top
    from exporter.service.guarding import Guarding  # noqa: PLC0415 - see the top

    with _protected(options) as guarded:
        guarding = Guarding(
            guarded.host,
            guarded.settings,
            publish=SnapshotWriter(options.state).write,
            reloading=guarded.reloading,
            clocks=_clocks(),
            log=logger,
        )
        guarding.remember_in(guarded.memory)
        stop, notifier = _stop_on_signals(), Notifier.of_process()
        mode = str(guarded.settings.guard.mode)
        logger.info("guarding", version=__version__, guard_mode=mode)
        try:
            guarding.start(stop)
            guarding.watch(stop, notifier)
        finally:
            stop.set()
            notifier.stopping()
            guarding.stop()
    logger.info("stopped")
    return 0


def _web(options: argparse.Namespace) -> int:
    from exporter.service.following import Following  # noqa: PLC0415 - see the top

    stop, notifier = _stop_on_signals(), Notifier.of_process()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # its files it looks at by itself
    web = Following(options.state, _web_options(options), log=logger)

    def on_ready() -> None:
        logger.info("serving", version=__version__, addresses=list(web.addresses))
        notifier.ready()

    web.run(stop, on_ready)
    logger.info("stopped")
    return 0


@contextmanager
def _protected(options: argparse.Namespace) -> Iterator[Guarded]:
    """Become the host's guard, with what it needs to act in every need, until the end."""
    from exporter.residence import HostMemory, Residence  # noqa: PLC0415 - see the top
    from exporter.service.protection import Protection  # noqa: PLC0415 - see the top

    settings = _settings(options)
    host = _host(settings)
    lvm = settings.commands.lvm
    residence = Residence(HostMemory(), host.runner, lvm, warn=logger.warning)
    protection = Protection(options.state, residence.start, log=logger)
    try:
        settings = protection.take(settings)
        reloading = _reload_on_signal(options, protection.take)
        yield Guarded(host, settings, reloading, lambda: protection.memory)
    finally:
        protection.release()


def _demo(options: argparse.Namespace) -> int:
    from exporter.simulation.demo import demo_host  # noqa: PLC0415 - of use here alone

    host = demo_host(time.monotonic).access()
    logger.warning("simulated_host", note="nothing of this host is read or changed")
    reloading = _reload_on_signal(options)
    return _serve(Guarded(host, _settings(options), reloading), options)


def _serve(guarded: Guarded, options: argparse.Namespace) -> int:
    from exporter.service.service import Service  # noqa: PLC0415 - see the top

    stop = _stop_on_signals()
    service = Service(
        guarded.host,
        guarded.settings,
        _web_options(options),
        reloading=guarded.reloading,
        clocks=_clocks(),
        log=logger,
    )
    service.remember_in(guarded.memory)
    service.run(
        stop,
        notifier=Notifier.of_process(),
        on_ready=lambda: logger.info(
            "serving",
            version=__version__,
            addresses=list(service.addresses),
            guard_mode=str(guarded.settings.guard.mode),
        ),
    )
    logger.info("stopped")
    return 0


def _web_options(options: argparse.Namespace) -> WebOptions:
    from exporter.service.serving import WebOptions  # noqa: PLC0415 - see the top
    from exporter.web.activation import passed_descriptors  # noqa: PLC0415 - see the top

    return WebOptions(
        addresses=options.addresses or [DEFAULT_ADDRESS],
        telemetry_path=options.telemetry_path,
        config_file=options.web_config_file,
        descriptors=passed_descriptors() if options.is_activated else (),
    )


def _reload_on_signal(
    options: argparse.Namespace,
    permit: Callable[[Settings], Settings] = lambda settings: settings,
) -> Reloading:
    from exporter.service.reloading import Reloading  # noqa: PLC0415 - see the top

    reloading = Reloading(
        lambda: _settings(options), permit=permit, wall_clock=time.time, log=logger
    )
    signal.signal(signal.SIGHUP, lambda *_: reloading.request())
    return reloading


def _clocks() -> Clocks:
    from exporter.guard import Clocks  # noqa: PLC0415 - see the top

    return Clocks(monotonic=time.monotonic, wall=time.time)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _collect_once(settings: Settings) -> Snapshot:
    from exporter.collection import Collection  # noqa: PLC0415 - see the top
    from exporter.service.wiring import programs  # noqa: PLC0415 - see the top

    collection = Collection(
        _host(settings), programs(settings), wall_clock=time.time, clock=time.monotonic
    )
    collection.refresh_all()
    return collection.snapshot()


def _collect(options: argparse.Namespace) -> int:
    from exporter.exposition import render, snapshot_collector  # noqa: PLC0415 - heavy
    from exporter.textfile import write_atomically  # noqa: PLC0415 - same

    snapshot = _collect_once(_settings(options))
    body = render(snapshot_collector(lambda: snapshot).collect()).body
    if options.output:
        write_atomically(options.output, body)
    else:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    return 0


def _check(options: argparse.Namespace) -> int:
    from exporter.guard.judge import Judge  # noqa: PLC0415 - of use here alone
    from exporter.guard.lock import running_guard  # noqa: PLC0415 - see the top
    from exporter.report import Report, print_report  # noqa: PLC0415 - heavy
    from exporter.service.wiring import rules  # noqa: PLC0415 - see the top

    settings = _settings(options)
    snapshot = _collect_once(settings)
    note = running_guard(options.state)
    in_force = rules(settings).as_noted(note) if note else rules(settings)
    report = Report.of(Judge(in_force, _clocks()).foresee(snapshot), note)
    print_report(report, sys.stdout)
    return report.exit_status


def _check_config(options: argparse.Namespace) -> int:
    _settings(options)
    if options.web_config_file:
        from exporter.web.config import load as load_web  # noqa: PLC0415 - see the top
        from exporter.web.live import WebSettings  # noqa: PLC0415 - same

        WebSettings.of(load_web(options.web_config_file))
        sys.stdout.write(f"{options.web_config_file} is valid\n")
    path = options.config_file or DEFAULT_CONFIG
    state = "is valid" if path.exists() else "is absent: the defaults hold"
    sys.stdout.write(f"{path} {state}\n")
    return 0


def _log_thread_death(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else None
    logger.error("thread_died", thread=name, exc_info=args.exc_value)


if __name__ == "__main__":
    sys.exit(main())
