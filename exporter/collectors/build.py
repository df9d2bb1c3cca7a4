"""Which build of the exporter this is → a metric."""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, Metric

from exporter.collectors.families import printable


def family(version: str, python_version: str) -> Metric:
    """Describe this build."""
    build = GaugeMetricFamily(
        "thinpool_exporter_build_info",
        "Always 1. Labels: the version of thinpool-exporter and of the Python that runs it.",
        labels=("version", "python_version"),
    )
    build.add_metric((printable(version), printable(python_version)), 1)
    return build
