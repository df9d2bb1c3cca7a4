"""thinpool-exporter: watches thin pools, and keeps them from filling up."""

__version__ = "0.1.0"
