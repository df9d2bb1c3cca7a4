"""The landing page: what this is, and where the metrics are."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from exporter import __version__
from exporter.model import Snapshot
from exporter.web.message import HTML, Handler, Request, Response

# The page loads nothing; a label that slipped through unescaped would not run either.
SECURITY = (
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
)
SIMULATED = (
    '<p class="simulated" role="status"><strong>Simulated host.</strong> '
    "These pools do not exist; nothing here is about this machine.</p>"
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>thinpool-exporter</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 2rem auto; max-width: 40rem;
  padding: 0 1rem; line-height: 1.5; color: #1b1b1b; background: #fff; }}
.simulated {{ background: #ffd54a; color: #1b1b1b; padding: .75rem 1rem; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #eee; background: #1b1b1b; }} a {{ color: #8ab4f8; }} }}
</style>
</head>
<body>
{banner}
<h1>thinpool-exporter</h1>
<p>Watches the LVM thin pools of a Docker host, and keeps them from filling up.</p>
<p>Version {version}. {summary}</p>
<ul>
<li><a href="{metrics}">Metrics</a></li>
<li><a href="/-/healthy">Health</a></li>
<li><a href="/-/ready">Readiness</a></li>
</ul>
</body>
</html>
"""


def landing(latest: Callable[[], Snapshot | None], telemetry_path: str) -> Handler:
    """Make the landing page."""

    def answer(_request: Request) -> Response:
        body = page(latest(), telemetry_path).encode()
        return Response(body=body, content_type=HTML, headers=SECURITY)

    return answer


def page(snapshot: Snapshot | None, telemetry_path: str) -> str:
    """Write the page."""
    return PAGE.format(
        banner=SIMULATED if snapshot and snapshot.is_simulated else "",
        version=escape(__version__),
        summary=_summary(snapshot),
        metrics=escape(telemetry_path),
    )


def _summary(snapshot: Snapshot | None) -> str:
    if snapshot is None:
        return "Nothing has been read yet."
    count = len(snapshot.pools)
    return f"{count} thin pool{'' if count == 1 else 's'} on this host."
