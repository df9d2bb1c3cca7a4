"""Writes the rules: `make rules-files`, or for your own Prometheus, into a folder of yours.

python -m rules.builder --out /etc/prometheus/rules --job 'thinpool|node' --cluster cluster
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from rules.builder import alerts, recording
from rules.builder.rule import write
from rules.builder.settings import Settings

HELP = {
    "job": "regular expression of the scrape jobs",
    "cluster": "label that tells your clusters apart, if there are several",
    "scrape_seconds": "longest scrape interval of these hosts",
    "page_hours": "page when a pool will be full within so many hours",
    "ticket_hours": "ticket when it will be full within so many hours",
    "page_minutes": "page when it will be full within so many minutes, at the present rate",
    "ticket_days": "ticket when its volume group will be used up within so many days",
    "nearly_full_percent": "ticket when a pool without a policy is fuller",
    "full_percent": "page when a pool is fuller, whatever its rate",
    "many_hosts": "page when more hosts than this are down for ten minutes",
    "runbooks": "address of the runbooks; {} is the alert",
    "host_scheme": "http or https: how browsers reach the exporters",
    "grafana": "address of Grafana",
}


def files(settings: Settings) -> dict[str, str]:
    """Make both files, by their names."""
    return {
        "recording.yaml": write(recording.HEADING, recording.groups(settings), settings),
        "alerts.yaml": write(alerts.HEADING, alerts.groups(settings), settings),
    }


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description="Write the recording rules and the alerts.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1])
    for field in fields(Settings):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=f"{HELP[field.name]} (default: {str(field.default) or 'none'})".replace(
                "%", "%%"
            ),
        )
    options = vars(parser.parse_args())
    out = options.pop("out")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files(Settings(**options)).items():
        (out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
