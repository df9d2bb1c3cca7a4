"""The status page at `/`: what the report says, for a browser."""

from exporter.web.status.page import status_page
from exporter.web.status.pool import PoolView
from exporter.web.status.view import PageView, Viewer

__all__ = ["PageView", "PoolView", "Viewer", "status_page"]
