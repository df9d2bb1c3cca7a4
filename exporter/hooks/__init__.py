"""The user's command: when it is run, what it is told, and which file may be it."""

from exporter.hooks.happening import HookEvent
from exporter.hooks.hooks import Hooks
from exporter.hooks.trust import Trust

__all__ = ["HookEvent", "Hooks", "Trust"]
