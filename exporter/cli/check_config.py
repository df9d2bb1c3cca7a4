"""`check-config`: every fault of the configuration."""

from __future__ import annotations

import argparse
import sys

from exporter.cli.starting import DEFAULT_CONFIG, settings_of
from exporter.web.config import load as load_web
from exporter.web.live import WebSettings


def main(options: argparse.Namespace) -> int:
    """Raise ConfigError with every fault; say what is valid where there is none."""
    settings_of(options)
    if options.web_config_file:
        WebSettings.of(load_web(options.web_config_file))
        sys.stdout.write(f"{options.web_config_file} is valid\n")
    path = options.config_file or DEFAULT_CONFIG
    state = "is valid" if path.exists() else "is absent: the defaults hold"
    sys.stdout.write(f"{path} {state}\n")
    return 0
