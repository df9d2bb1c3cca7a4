"""The status page at `/`: what the report says, for a browser."""

from exporter.web.status.page import status_page

__all__ = ["status_page"]
