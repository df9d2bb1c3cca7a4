"""thinpool-exporter: watches thin pools, and keeps them from filling up."""

import sys

__version__ = "0.1.0"

# structlog loads rich where it is installed, for tracebacks that nothing here prints: 9 MiB
# and 0.1 s in each process. So it is shown none. `check` loads rich itself, for its report.
if "structlog" not in sys.modules and "rich" not in sys.modules:
    # None makes an import fail, as if it were not installed (the import system's reference).
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401 - loaded here once, for every module that imports it
    finally:
        del sys.modules["rich"]
