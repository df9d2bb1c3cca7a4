"""The only place that starts a process: argv in, decoded output or one error out."""

from exporter.command.child import CHILD_ENVIRONMENT, child_environment
from exporter.command.runner import HostRunner, Runner
from exporter.command.running import Output, Running

__all__ = [
    "CHILD_ENVIRONMENT",
    "HostRunner",
    "Output",
    "Runner",
    "Running",
    "child_environment",
]
