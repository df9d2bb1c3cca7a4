"""What the descriptions of several alerts say in the same words."""

from __future__ import annotations

import json

from rules.builder.settings import Settings

POOL = "{{ $labels.vg }}/{{ $labels.pool }} on {{ $labels.instance }}"
DEVICE = "{{ $labels.device }}"
SIZE = "{{ $value | humanize1024 }}B"
TIME = "{{ $value | humanizeDuration }}"
PERCENT = "{{ $value | humanizePercentage }}"


HOURS = {1: "an hour", 2: "two hours", 4: "four hours", 24: "a day", 48: "two days"}


def hours_words(hours: int) -> str:
    """Write a time for people."""
    return HOURS.get(hours, f"{hours} hours")


def lookup(expr: str, settings: Settings, *labels: str) -> str:
    """Write a template's query for the series of the alert's host, and by these labels.

    SELECT in the expression stands for the label matchers.
    """
    names = (*settings.host, *labels)
    matchers = ",".join(f"{name}=%q" for name in names)
    values = " ".join(f"$labels.{name}" for name in names)
    return f"printf {json.dumps(expr.replace('SELECT', matchers))} {values} | query"


def left(settings: Settings, device: str = "") -> str:
    """Tell how much is free in the pool, what the VG can give, and how long that lasts.

    These figures decide between bed and desk. The device is that of the alert's label, or the
    one that is given.
    """
    labels = ("vg", "pool") if device else ("vg", "pool", "device")
    own = f',device="{device}"' if device else ""
    free = lookup(f"thinpool:free:bytes{{SELECT{own}}}", settings, *labels)
    group = lookup("thinpool_vg_allocatable_bytes{SELECT}", settings, "vg")
    seconds = lookup(f"thinpool:until_exhausted:seconds{{SELECT{own}}}", settings, *labels)
    return (
        f"{{{{- range {free} }}}} Free for {device or DEVICE}: {{{{ .Value | humanize1024 }}}}B."
        "{{ end }}"
        f"{{{{- range {group} }}}} The volume group can give {{{{ .Value | humanize1024 }}}}B."
        "{{ end }}"
        f"{{{{- range {seconds} }}}} At the last hour's rate all of it is full in "
        "{{ .Value | humanizeDuration }}.{{ end }}"
    )


def writer(settings: Settings) -> str:
    """Name the thin volume that has gained most in the last hour."""
    found = lookup(
        "topk(1, delta(thinpool_volume_mapped_bytes{SELECT}[1h]) > 0)", settings, "vg", "pool"
    )
    return (
        f"{{{{- range {found} }}}} The most was written by {{{{ if .Labels.container }}}}"
        "container {{ .Labels.container }}{{ else }}volume {{ .Labels.volume }}{{ end }}: "
        "{{ .Value | humanize1024 }}B in the last hour.{{ end }}"
    )


def writer_of_data(settings: Settings) -> str:
    """Name it if the alert is about data."""
    return f'{{{{- if eq $labels.device "data" }}}}{writer(settings)}{{{{ end }}}}'
