"""What is to be done with one pool: pure decisions from records and limits."""

from exporter.policy.account import after_extension, if_carried_out
from exporter.policy.decide import (
    attainable,
    authorise,
    decide,
    is_left_to_dmeventd,
    next_steps,
)
from exporter.policy.need import NOTHING_EXPECTED, Outlook
from exporter.policy.obstacle import is_recoverable, sizes_agree
from exporter.policy.room import Limits

__all__ = [
    "NOTHING_EXPECTED",
    "Limits",
    "Outlook",
    "after_extension",
    "attainable",
    "authorise",
    "decide",
    "if_carried_out",
    "is_left_to_dmeventd",
    "is_recoverable",
    "next_steps",
    "sizes_agree",
]
