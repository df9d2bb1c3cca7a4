"""How the configuration was last read → metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from exporter.collectors.families import Row, gauges
from exporter.model import ConfigurationState, Snapshot

STATE: tuple[Row[ConfigurationState], ...] = (
    Row(
        "thinpool_exporter_config_last_reload_successful",
        "1 if the configuration was last read without a fault, else 0: then the settings "
        "from before stay in force.",
        lambda state: state.error is None,
    ),
    Row(
        "thinpool_exporter_config_last_reload_success_timestamp_seconds",
        "Time at which the settings in force were read, in seconds since the epoch.",
        lambda state: state.loaded_at,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe the settings of the process that guards."""
    if snapshot.configuration:
        yield from gauges(STATE, {(): snapshot.configuration}, ())
