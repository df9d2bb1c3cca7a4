"""Colours of the words that the exporter's labels take, the same on both dashboards."""

from __future__ import annotations

from grafana.builder.panels import AMBER, BLUE, GREEN, GREY, RED

YES_IS_GOOD = {"0": ("no", RED), "1": ("yes", GREEN)}
YES_IS_BAD = {"0": ("no", GREEN), "1": ("yes", RED)}
SEVERITY = {"critical": ("page", RED), "warning": ("ticket", AMBER)}
GUARD_MODE = {
    "auto": ("auto", GREEN),
    "always": ("always", BLUE),
    "observe": ("observe", AMBER),
    "off": ("off", RED),
}
POOL_MODE = {
    "rw": ("read-write", GREEN),
    "ro": ("read-only", RED),
    "out_of_data_space": ("out of data space", RED),
    "failed": ("failed", RED),
    "inactive": ("inactive", GREY),
    "unknown": ("unknown", GREY),
}
