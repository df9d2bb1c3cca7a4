"""Where a process serves, by its flags."""

from __future__ import annotations

import argparse

from exporter.cli.starting import DEFAULT_ADDRESS
from exporter.service.serving import WebOptions
from exporter.web.activation import passed_descriptors


def web_options(options: argparse.Namespace) -> WebOptions:
    """Tell where and how to serve. Raises ListenError where systemd has passed no socket."""
    return WebOptions(
        addresses=options.addresses or [DEFAULT_ADDRESS],
        telemetry_path=options.telemetry_path,
        config_file=options.web_config_file,
        descriptors=passed_descriptors() if options.is_activated else (),
    )
