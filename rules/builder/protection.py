"""Alerts on pools that nobody would extend, or that nothing can help when they are full."""

from __future__ import annotations

from collections.abc import Iterator

from rules.builder import texts
from rules.builder.conditions import covered, indented, recent
from rules.builder.growth import DAY, HOUR
from rules.builder.rule import Alert, Severity
from rules.builder.settings import Settings
from rules.builder.texts import POOL, TIME

# Above this a pool that cannot be extended is urgent whatever its rate is.
URGENT = 0.9
# Reasons that have a page of their own.
BROKEN = "failed|inactive|needs_check|read_only|suspended"
# What the guard's reasons mean, after "…: ".
REASONS = {
    "policy_off": "LVM's policy never extends it (its threshold is 100 %)",
    "profile_missing": "LVM cannot read the profile that the pool names, and never extends it "
    "without one",
    "policy_step_zero": "LVM's policy extends it by 0 %, which LVM refuses",
    "policy_unknown": "LVM does not tell its policy",
    "not_lvm": "it does not belong to LVM, so lvextend cannot extend it",
    "suspended": "it is suspended, and all that uses it waits",
    "usage_unknown": "neither the kernel nor LVM tells how full it is",
    "no_space": "its volume group has nothing left",
    "at_max_size": "it has reached the max_size of the configuration",
    "at_metadata_limit": "its metadata has reached the largest size that the kernel can use",
    "latched_refused": "LVM refused the last extension",
    "latched_ineffective": "the last extension had no effect",
    "internal_error": "the guard met an internal error, which its journal names",
    "layout_unknown": "LVM does not tell how it is laid out",
    "layout_differs": "the kernel uses another size than LVM has recorded",
    "locked": "an LVM operation holds it",
    "not_writable": "the volume group or the pool is read-only in LVM",
    "vg_exported": "its volume group is exported",
    "vg_partial": "its volume group misses a disk",
    "vg_shared": "its volume group is shared with other hosts",
    "vg_foreign": "its volume group belongs to another host",
    "no_guard": "no guard watches it",
    "guard_off": "the guard is switched off for it",
    "observe_only": "the guard only observes it",
}
# With these dmeventd could still extend it, and does not.
OF_THE_GUARD_ALONE = "^(no_guard|guard_off|observe_only|internal_error)$"


def protection(settings: Settings) -> Iterator[Alert]:
    """Page on an extension that fails while it is needed; the rest are tickets."""
    yield _extension_failing(settings, "critical")
    yield _extension_failing(settings, "warning")
    yield Alert(
        name="ThinPoolNotProtected",
        severity="warning",
        scope="pool",
        expr=f"""
{recent("thinpool:protected:bool", settings)} == 0
unless ignoring (reason)
{recent(f'thinpool_guard_state{{reason=~"{BROKEN}"}}', settings)}
unless
{recent('thinpool_loopback{vg=""}', settings)} == 1
unless ignoring (device)
{covered(settings)}
""",
        for_="15m",
        summary="Nothing would extend a thin pool when it fills.",
        description=(
            f"Neither the guard nor dmeventd would extend the thin pool {POOL} when it fills:",
            *_why(settings),
        ),
        first="thinpool-exporter check {{ $labels.vg }}/{{ $labels.pool }}",
        comment="What is broken has a page of its own, and a pool that Docker made on loop "
        "devices has a ticket that says as much.",
    )
    yield Alert(
        name="ThinPoolTakenOver",
        severity="warning",
        scope="pool",
        expr=f"""
{recent("thinpool_guard_taken_over", settings)} == 1
or
{recent("thinpool_guard_responsible", settings)} == 1
and
{recent("thinpool_monitored", settings)} == 1
and ignoring (mode)
{recent('thinpool_guard_mode{mode="auto"}', settings)}
""",
        summary="dmeventd is not doing its job. The guard extends the pool instead.",
        description=(
            f"dmeventd monitors the thin pool {POOL}, but left it above its threshold. The guard "
            "extends it now: there is no danger while the guard runs. The journal of "
            "thinpool-guard says what dmeventd was doing.",
        ),
        first="systemctl restart dm-event",
    )
    yield from _on_files(settings)
    yield _space_not_returned(settings)


def _extension_failing(settings: Settings, severity: Severity) -> Alert:
    busy = 'thinpool_guard_state{reason="busy"}'
    failing = f"""max without (reason) ({recent('thinpool_guard_state{reason=~"latched_.+"}', settings)})
unless ignoring (reason)
thinpool_guard_state{{reason="below_threshold"}}
or
max without (reason) (
  {recent(busy, settings)}
  and
  last_over_time({busy}[{settings.recent}] offset 8m)
)
and ignoring (reason, device)
{recent('thinpool_guard_extend_failures_total{reason="stuck"}', settings)} > 0
unless ignoring (reason)
thinpool_guard_state{{reason!="busy"}}"""
    urgent = f"""{recent("thinpool:used:ratio", settings)} > {URGENT}
or
{recent("thinpool:until_full:seconds", settings)} < {DAY}"""
    word = "and" if severity == "critical" else "unless"
    return Alert(
        name="ThinPoolExtensionFailing",
        severity=severity,
        scope="pool",
        expr=f"""(
{indented(failing)}
)
{word} ignoring (device)
(
{indented(urgent)}
)""",
        for_="2m",
        summary="A thin pool needs to be extended, and every attempt fails.",
        description=(
            f"The thin pool {POOL} is above its threshold. Its last lvextend failed, or does not "
            "end. The journal of thinpool-guard has what LVM said.",
            texts.left(settings, "data"),
        ),
        first="journalctl -u thinpool-guard -n 20",
        comment="A ticket while there is time; a page above 90 %, and within a day of being full. "
        "What has failed is tried again now and then: what counts is that it has not succeeded."
        if severity == "critical"
        else "",
    )


def _why(settings: Settings) -> Iterator[str]:
    """Write the reason, and what dmeventd does if it could act."""
    series = "thinpool:unprotected:reason{SELECT}"
    labels = (*settings.host, "vg", "pool")
    found = texts.lookup(
        f"{series} or ignoring (reason) last_over_time({series}[{settings.recent}])",
        settings,
        "vg",
        "pool",
    ).removesuffix(" | query")
    # Two selectors, so the labels' values are written twice.
    values = " ".join(f"$labels.{name}" for name in labels)
    yield '{{ $reason := "unknown" -}}'
    yield f"{{{{ range {found} {values} | query }}}}{{{{ $reason = .Labels.reason }}}}{{{{ end -}}}}"
    yield f'{{{{ $is_guards := match "{OF_THE_GUARD_ALONE}" $reason -}}}}'
    word = "if"
    for reason, text in REASONS.items():
        dash = "" if word == "if" else "- "
        yield f'{{{{{dash or " "}{word} eq $reason "{reason}" }}}}{text}'
        word = "else if"
    yield "{{- else }}{{ $reason }}{{ end -}}"
    yield "{{ if $is_guards -}}"
    alive = texts.lookup(
        f"last_over_time(thinpool_dmeventd_up{{SELECT}}[{settings.recent}])", settings
    )
    monitored = f"last_over_time(thinpool_monitored{{SELECT}}[{settings.recent}])"
    yield f"{{{{ if {_is(alive, 0)} }}}}, and dmeventd does not run"
    for value, text in (
        (0, "dmeventd does not monitor it"),
        (1, "dmeventd gives nothing, because its next step does not fit as a whole"),
    ):
        asked = texts.lookup(monitored, settings, "vg", "pool")
        yield f"{{{{- else if {_is(asked, value)} }}}}, and {text}"
    yield "{{- else }}, and whether dmeventd monitors it is unknown{{ end -}}"
    yield "{{ end }}."


def _is(lookup: str, value: int) -> str:
    """Compare what a lookup finds."""
    head, _, tail = lookup.partition('])"')
    return f'{head}]) == {value}"{tail}'


def _on_files(settings: Settings) -> Iterator[Alert]:
    free = "thinpool_loopback_backing_free_bytes"
    promised = f"{recent('thinpool_loopback_backing_promised_bytes', settings)} == 0"
    yield Alert(
        name="ThinPoolOnLoopback",
        severity="warning",
        scope="pool",
        expr=f"{recent('thinpool_loopback', settings)} == 1",
        for_="1h",
        summary="A thin pool lies on loop devices over sparse files.",
        description=(
            f"The thin pool {POOL} lies on loop devices over sparse files. That is slow, and "
            "meant for tests. When the file system below is full the pool fails, whatever it "
            "says of itself.",
        ),
        first="docker info",
    )
    yield Alert(
        name="ThinPoolLoopBackingFull",
        severity="critical",
        scope="pool",
        expr=f"{recent(free, settings)} < 1024^3\nunless\n{promised}",
        for_="2m",
        summary="The file system under a thin pool's files is full.",
        description=(
            f"The file system that holds the files of the thin pool {POOL} has "
            "{{ $value | humanize1024 }}B left. The pool does not know, and fails when it "
            "writes.",
        ),
        first="df -h, then free space on the file system of the pool's files",
    )
    for severity, hours, span, half in (
        ("critical", settings.page_hours, "1h", "30m"),
        ("warning", settings.ticket_hours, "6h", "3h"),
    ):
        is_page = severity == "critical"
        past = "" if is_page else f"\nand\nlast_over_time({free}[10m] offset 18h)"
        within = texts.hours_words(hours)
        yield Alert(
            name="ThinPoolLoopBackingFillingUp",
            severity="critical" if is_page else "warning",
            scope="pool",
            expr=f"""
{recent(free, settings)}
/ -(deriv({free}[{span}]) < 0) < {hours * HOUR}
and
deriv({free}[{half}])
< 0.25 * deriv({free}[{span}])
and
deriv({free}[{half}] offset {half})
< 0.25 * deriv({free}[{span}])
unless
{recent(free, settings)}
>= min_over_time({free}[18h] offset 6h)
unless
{promised}{past}
""",
            for_="15m" if is_page else "1h",
            keep="15m" if is_page else "1h",
            summary=f"The file system under a thin pool's files will be full within {within}.",
            description=(
                f"At the rate of the last {'hour' if is_page else 'six hours'} the file system "
                f"that holds the files of the thin pool {POOL} is full in {TIME}. The pool does "
                "not know, and fails then.",
            ),
            first="df -h",
            comment="Of free bytes, as an exception: nobody extends that file system in steps. "
            "Files that have all that they were promised need nothing more of it."
            if is_page
            else "",
        )


def _space_not_returned(settings: Settings) -> Alert:
    return Alert(
        name="ThinPoolSpaceNotReturned",
        severity="warning",
        scope="pool",
        expr=f"""
label_replace(
  min_over_time(thinpool_metadata_snapshot_held[2h]) == 1,
  "what", "metadata_snapshot", "", ""
)
or
label_replace(
  max without (dm_name, uuid, profile, discards, source) (
    {recent('thinpool_info{discards="ignore"}', settings)}
  )
  unless ignoring (device)
  {covered(settings)},
  "what", "discards", "", ""
)
""",
        for_="1h",
        summary="A thin pool does not get back what is freed.",
        description=(
            f"The thin pool {POOL} does not get freed space back:",
            '{{ if eq $labels.what "discards" }}it ignores discards (lvchange --discards), so '
            "what is deleted in its volumes stays allocated."
            "{{- else }}somebody has held a snapshot of its metadata for two hours, so that the "
            "metadata only grows.{{ end }}",
        ),
        first='{{ if eq $labels.what "discards" }}lvs -o+discards {{ $labels.vg }}/'
        "{{ $labels.pool }}{{ else }}dmsetup status --target thin-pool{{ end }}",
    )
