"""Sets, by --config, what shapes LVM's reports: lvm.conf then does not change their form.

LVM takes one --config only, and prefers it to lvm.conf and profiles. It warns of a setting that
it does not know and goes on without it, unless lvm.conf says `config/abort_on_errors=1`. So a
setting that it does not know is left out as soon as LVM says so.
What LVM prints before it has read --config stays as lvm.conf has it: the first warnings on
stderr, and debug messages if `log/file` sends them to stdout.
Source: lvm2 lib/config/config_settings.h, sections log, global and report; lvm(8).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

HINTS = "devices/hints"
# Everything that shapes a report or a message; --units, --nosuffix, --binary, --separator,
# --noheadings and --reportformat are options of the commands themselves.
FORM: Mapping[str, str] = {
    "log/command_names": "0",
    "log/level": "0",
    "log/prefix": '"  "',
    "log/report_command_log": "0",
    "log/silent": "1",  # or hints for people stand within the report (more than 8,192 archives)
    "log/verbose": "0",
    "report/buffered": "1",
    "report/columns_as_rows": "0",
    "report/compact_output": "0",
    "report/compact_output_cols": '""',
    "report/list_item_separator": '","',
    "report/mark_hidden_devices": "1",
    "report/prefixes": "0",
    "report/quoted": "1",
    "report/two_word_unknown_device": "0",
}
UNHINTED: Mapping[str, str] = {HINTS: '"none"'}
UNKNOWN = re.compile(r'Configuration setting "([a-z0-9_/]+)" unknown')


def config_option(
    unknown: Collection[str] = frozenset(), *, is_hinted: bool = True
) -> tuple[str, ...]:
    """Give the one option that pins the form, without the settings that LVM does not know.

    With `is_hinted` false it also tells LVM to go by no hints, and to make none.
    """
    settings = FORM if is_hinted else {**UNHINTED, **FORM}
    sections: dict[str, list[str]] = {}
    for path, value in settings.items():
        section, _, key = path.partition("/")
        if path not in unknown:
            sections.setdefault(section, []).append(f"{key}={value}")
    words = (f"{section}{{{' '.join(each)}}}" for section, each in sections.items())
    return ("--config", " ".join(words)) if sections else ()


def unknown_settings(stderr: str) -> frozenset[str]:
    """Find the settings of ours that LVM says it does not know."""
    return frozenset(UNKNOWN.findall(stderr)) & {*FORM, *UNHINTED}
