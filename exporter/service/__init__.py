"""The processes of this program: wires the parts and runs them to the end."""

from exporter.service.following import Following
from exporter.service.guarding import Guarding
from exporter.service.protection import Protection
from exporter.service.reloading import Reloading
from exporter.service.service import Service
from exporter.service.serving import Serving, WebOptions
from exporter.service.wiring import programs, rules

__all__ = [
    "Following",
    "Guarding",
    "Protection",
    "Reloading",
    "Service",
    "Serving",
    "WebOptions",
    "programs",
    "rules",
]
