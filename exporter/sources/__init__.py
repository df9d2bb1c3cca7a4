"""The sources: a module for each origin; argv_* builds, parse_* is pure, read does I/O."""
