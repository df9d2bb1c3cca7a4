"""Alerts on pools that fill up, or cannot be extended any more."""

from __future__ import annotations

from collections.abc import Iterator

from rules.builder import texts
from rules.builder.conditions import covered, indented, recent
from rules.builder.recording import DEVICES
from rules.builder.rule import Alert, Severity
from rules.builder.settings import Settings
from rules.builder.texts import DEVICE, PERCENT, POOL, SIZE, TIME

HOUR = 3600
DAY = 24 * HOUR
# LVM extends no device that is less full, and Docker's own layout leaves too little for a step
# on every host from the first day.
HALF = 0.5
# Of what a device could become: what is fuller is watched minute by minute.
REST = 0.25


def filling(settings: Settings) -> Iterator[Alert]:
    """Page on what is nearly full, or will be before somebody looks."""
    yield _filling_fast(settings)
    for device in DEVICES:
        yield _filling_up(settings, device, "critical")
        yield _filling_up(settings, device, "warning")
    yield _above_threshold(settings, "critical")
    yield _above_threshold(settings, "warning")


def _name(device: str) -> str:
    return f"ThinPool{device.title()}FillingUp"


def _filling_fast(settings: Settings) -> Alert:
    return Alert(
        name="ThinPoolFillingFast",
        severity="critical",
        scope="pool",
        expr=f"""
{recent("thinpool:headroom:bytes", settings)}
/ min_over_time(thinpool_fill_bytes_per_second[4m5s]) < {settings.page_minutes * 60}
and
{recent("thinpool:headroom:bytes", settings)}
< {REST} * {recent("thinpool:attainable:bytes", settings)}
unless
{covered(settings)}
""",
        for_="2m",
        keep="5m",
        summary="A thin pool will be full within minutes.",
        description=(
            f"At the rate of the last minutes the {DEVICE} of the thin pool {POOL} is full in "
            f"{TIME}, with all that the volume group can give it.",
            texts.left(settings),
            texts.writer_of_data(settings),
        ),
        first="stop what writes, or vgextend {{ $labels.vg }} with another disk",
        comment="The guard measures the rate each second. An image that is pulled is over "
        "before this fires.",
    )


def _filling_up(settings: Settings, device: str, severity: Severity) -> Alert:
    is_page = severity == "critical"
    hours = settings.page_hours if is_page else settings.ticket_hours
    by_6h = f"""last_over_time(thinpool:until_exhausted_by_6h:seconds{{device="{device}"}}[10m]) < {hours * HOUR}
and
last_over_time(thinpool:used:steady6h{{device="{device}"}}[10m])"""
    if is_page:
        condition = _soon(settings, device, by_6h)
    else:
        condition = f"""{by_6h}
and
last_over_time(thinpool:used:max6h{{device="{device}"}}[10m] offset 18h)"""
    thick = f"\nunless\n{covered(settings)}" if device == "data" else ""
    rate = "present" if is_page else "last six hours'"
    return Alert(
        name=_name(device),
        severity=severity,
        scope="pool",
        expr=f"{condition}{thick}",
        for_="15m" if is_page else "1h",
        keep="15m" if is_page else "1h",
        summary=f"A thin pool's {device} will be full within {texts.hours_words(hours)}, even "
        "with all free space of its volume group.",
        description=(
            f"At the {rate} rate the {device} of the thin pool {POOL} is full in {TIME}, even "
            "with all that the volume group can give it: add a disk, or free data.",
            texts.left(settings),
            *([texts.writer(settings)] if device == "data" else []),
        ),
        first="thinpool-exporter check {{ $labels.vg }}/{{ $labels.pool }}",
        comment=_why_filling(device, is_page=is_page),
    )


def _soon(settings: Settings, device: str, by_6h: str) -> str:
    """Write that a device will be full in a few hours, and that this is not so each day."""
    until = recent(f'thinpool:until_exhausted:seconds{{device="{device}"}}', settings)
    steady = f'thinpool:used:steady1h{{device="{device}"}}'
    before = f'last_over_time(thinpool:used:max_day_before{{device="{device}"}}[10m])'
    used = recent(f"thinpool_{device}_used_bytes", settings)
    return f"""(
  {until} < {settings.page_hours * HOUR}
  and
  {steady}
  and
  {before}
  or
  {until} < {HOUR}
  and
  {steady}
  or
{indented(by_6h)}
)
unless ignoring (device)
{used}
<= ignoring (device) {before}"""


def _why_filling(device: str, *, is_page: bool) -> str:
    if device != "data":
        return ""
    if is_page:
        return (
            "A forecast wavers: keep_firing_for spares a page that ends and comes again. What is "
            "no fuller than on the day before is no page: hosts that build and prune are like "
            "that each day. On a host's first hours, when nobody knows that yet, it is a page "
            "within an hour of being full. Bursts that are never freed show over six hours."
        )
    return "Of hosts that have been watched for most of a day."


def _above_threshold(settings: Settings, severity: Severity) -> Alert:
    used, threshold = (
        recent(name, settings) for name in ("thinpool:used:ratio", "thinpool:threshold:ratio")
    )
    nearly, full = settings.nearly_full_percent / 100, settings.full_percent / 100
    page = f"""{used} > {full}
or
{used} > {nearly}
and
{recent("thinpool:until_full:seconds", settings)} < {DAY}"""
    if severity == "critical":
        expr = f"(\n{indented(page)}\n)\nunless\n{used} <= {threshold}"
    else:
        expr = f"""(
  {used}
  > ceil(round(100 * {threshold}) / 5) / 20
  or
  {used} > {nearly}
  unless
  {used} <= {threshold}
)"""
    is_page = severity == "critical"
    return Alert(
        name="ThinPoolAboveThreshold",
        severity=severity,
        scope="pool",
        expr=f"""{expr}
unless
{covered(settings)}
unless
changes(thinpool:size:bytes[{settings.compared}]) > 0""",
        for_="2m" if is_page else "5m",
        keep="5m",
        summary="A thin pool is nearly full, and nothing extends it."
        if is_page
        else "A thin pool is above its threshold, and nothing extends it.",
        description=(
            f"The {DEVICE} of the thin pool {POOL} is {PERCENT} full, and its size has not "
            "changed for five minutes.",
            texts.left(settings),
            texts.writer_of_data(settings),
        ),
        first="thinpool-exporter check {{ $labels.vg }}/{{ $labels.pool }}",
        comment="Whatever its policy says, and whether it has one. A pool that is extended again "
        "and again is no cause for a page. Nor is a large one that stays as full as it is."
        if is_page
        else "dmeventd looks at the policy only where usage crosses a multiple of 5 %: with a "
        "threshold of 72 it acts at 75.",
    )


def forecasts(settings: Settings) -> Iterator[Alert]:
    """Tell in time what cannot be extended, and where disks are to be bought."""
    short = (
        f"{recent('thinpool_next_extend_possible_bytes', settings)}\n"
        f"< {recent('thinpool_next_extend_bytes', settings)}"
    )
    half = f"""(
  {recent("thinpool:used:ratio", settings)} > {HALF}
  or
  last_over_time(thinpool:used:max1d[10m])
  > {HALF} * {recent("thinpool:size:bytes", settings)}
)"""
    yield Alert(
        name="ThinPoolNextExtensionImpossible",
        severity="warning",
        scope="pool",
        expr=f"""
{recent("thinpool_next_extend_possible_bytes", settings)} == 0
and
{recent("thinpool_next_extend_bytes", settings)} > 0
and
{half}
unless
{covered(settings)}
""",
        for_="10m",
        summary="A thin pool cannot be extended any more.",
        description=(
            f"There is nothing left for the {DEVICE} of the thin pool {POOL}: its volume group "
            "is used up, or reserve or max_size of the configuration allow no more. Above its "
            "threshold nothing will extend it.",
            texts.left(settings),
            texts.writer_of_data(settings),
        ),
        first="vgs {{ $labels.vg }}",
        comment="Of devices that were half full within the last day: LVM extends none that is "
        "less, and Docker's own layout leaves too little for a step on every host from the "
        "first day.",
    )
    yield Alert(
        name="ThinPoolNextExtensionPartial",
        severity="warning",
        scope="pool",
        expr=f"""
(
{indented(short)}
) > 0
and
{half}
unless
{covered(settings)}
""",
        for_="1h",
        summary="A thin pool's next extension does not fit as a whole.",
        description=(
            f"There are {SIZE} for the {DEVICE} of the thin pool {POOL}, less than the next step "
            "of its policy. LVM and dmeventd would give it nothing. The guard gives it that; "
            "after that it cannot grow any more.",
        ),
        first="vgs {{ $labels.vg }}",
    )
    of_group = f"""{recent("thinpool_next_extend_bytes", settings)}
and
{half}
unless ignoring (device)
({covered(settings)})"""
    yield Alert(
        name="ThinPoolVolumeGroupNearlyFull",
        severity="warning",
        scope="vg",
        expr=f"""
{recent("thinpool_vg_allocatable_bytes", settings)}
< sum without (pool, device) (
{indented(of_group)}
)
unless ignoring (pool, device)
(
{indented(short)}
  and
{indented(half)}
)
""",
        for_="30m",
        summary="A volume group cannot give the next step to all of its thin pools.",
        description=(
            "The volume group {{ $labels.vg }} on {{ $labels.instance }} has "
            f"{SIZE} left: enough for the next step of each of its thin pools, but not of all "
            "of them.",
        ),
        first="vgs {{ $labels.vg }}",
    )
    yield Alert(
        name="ThinPoolFullWithinWeeks",
        severity="warning",
        scope="pool",
        expr=f"""
last_over_time(thinpool:until_exhausted_by_7d:days[10m]) < {settings.ticket_days}
unless
{covered(settings)}
""",
        for_="12h",
        keep="1d",
        summary="A thin pool needs more disk space within weeks.",
        description=(
            f"At the last week's rate the {DEVICE} of the thin pool {POOL} has used up all that "
            'its volume group can give it in {{ $value | printf "%.0f" }} days.',
            texts.left(settings),
        ),
        first="vgs {{ $labels.vg }}",
        comment="From each day's most, so that what is pruned each day does not count.",
    )
