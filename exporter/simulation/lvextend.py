"""lvextend of a thin pool, by the rules and with the words of LVM 2.03.16.

Source: lib/metadata/lv_manip.c, lv_resize() and what it calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from exporter.model import SECTOR_BYTES
from exporter.simulation.arguments import (
    INVALID_COMMAND_LINE,
    Arguments,
    LvmError,
    parse,
)
from exporter.simulation.extend_policy import policy_percents
from exporter.simulation.figures import KIB, lvm_size, round_up
from exporter.simulation.lvm_config import STEP, THRESHOLD, missing_profile
from exporter.simulation.pool import LOWEST_THRESHOLD, NEVER, Pool
from exporter.simulation.scanning import scan_warnings
from exporter.simulation.sizes import parse_bytes, parse_extents
from exporter.simulation.state import HostState
from exporter.simulation.storage import Lv, LvKind, NoSpaceError, Vg

OPTIONS = {"--extents": True, "--poolmetadatasize": True, "--use-policies": False}
METADATA_BYTES_PER_CHUNK = 64
MAX_METADATA_BYTES = 255 * ((1 << 14) - 64) * 4 * KIB  # ..._MAX_METADATA_SIZE_V1_KB
NO_SYNTAX = (
    "  No command with matching syntax recognised.  Run 'lvextend --help' for more information."
)
SPARE_NAME = "lvol0_pmspare"


@dataclass(kw_only=True)
class Resize:
    """One run: what it prints, and what it is to do."""

    state: HostState
    pool: Pool
    vg: Vg
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    metadata_extents: int | None = None
    data_extents: int | None = None

    @property
    def missing_profile(self) -> str | None:
        """Name the pool's profile if there is no file of it."""
        profile = self.state.profile_of(self.pool)
        return None if profile in self.state.config.profiles else profile

    def say(self, line: str) -> None:
        """Print one of LVM's ordinary messages."""
        self.stdout.append(f"  {line}")


def lvextend(state: HostState, words: Sequence[str]) -> tuple[int, str, str]:
    """Run lvextend with these arguments: exit status, stdout and stderr."""
    resize = None
    status = 0
    scanned = scan_warnings(state)
    try:
        arguments = parse("lvextend", words, OPTIONS)
        resize = _find(state, arguments)
        _plan(resize, arguments)
        _carry_out(resize)
    except (LvmError, NoSpaceError) as error:
        error = error if isinstance(error, LvmError) else LvmError(f"  {error}")
        status, lines = error.status, error.lines
        if status == INVALID_COMMAND_LINE:
            scanned = []  # it does not come to look
    else:
        lines = ()
    said, warned = (resize.stdout, resize.stderr) if resize else ([], [])
    return status, _text(said), _text([*scanned, *warned, *lines])


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _find(state: HostState, arguments: Arguments) -> Resize:
    if not arguments.names:
        line = NO_SYNTAX
        raise LvmError(line, status=INVALID_COMMAND_LINE)
    vg_name, _, lv_name = arguments.names[0].removeprefix("/dev/").partition("/")
    vg = state.vgs.get(vg_name)
    if vg is None:
        raise LvmError(
            f'  Volume group "{vg_name}" not found', f"  Cannot process volume group {vg_name}"
        )
    if vg.is_exported:
        raise LvmError(f"  Volume group {vg_name} is exported")
    if vg.missing_pvs:
        line = f"  Cannot change VG {vg_name} while PVs are missing."
        raise LvmError(
            line,
            "  See vgreduce --removemissing and vgextend --restoremissing.",
            f"  Cannot process volume group {vg_name}",
        )
    # The simulated host has no ID of its own. The words are from LVM's source
    # (_access_vg_systemid, of a VG with active LVs), not recorded.
    if vg.system_id:
        line = (
            f"  WARNING: Found LVs active in VG {vg_name} with foreign system ID "
            f"{vg.system_id}.  Possible data corruption."
        )
        raise LvmError(line, f"  Cannot process volume group {vg_name}")
    pool = state.pools.get(f"{vg_name}/{lv_name}")
    if pool is None:
        line = f"  Logical volume {lv_name} not found in volume group {vg_name}."
        raise LvmError(line)
    return Resize(state=state, pool=pool, vg=vg)


def _plan(resize: Resize, arguments: Arguments) -> None:
    if resize.missing_profile:
        # Twice, as LVM tries it anew for each of the two settings.
        resize.stderr += 2 * [missing_profile(resize.missing_profile).rstrip("\n")]
    if "--use-policies" in arguments.options:
        _plan_by_policy(resize)
    else:
        _plan_sizes(resize, arguments)
    if resize.data_extents is not None and "--poolmetadatasize" not in arguments.options:
        _follow_with_metadata(resize)


def _plan_sizes(resize: Resize, arguments: Arguments) -> None:
    """Check the data first, as LVM does, though the metadata grows first."""
    extents = arguments.options.get("--extents")
    size = arguments.options.get("--poolmetadatasize")
    if extents is None and size is None:
        line = NO_SYNTAX
        raise LvmError(line, status=INVALID_COMMAND_LINE)
    if extents is not None:
        existing = resize.pool.data_lv.extents
        wanted = parse_extents(extents) + existing * extents.startswith("+")
        resize.data_extents = _check(wanted, existing, may_match=size is not None)
    if size is not None:
        existing = resize.pool.metadata_lv.extents
        wanted = _size_in_extents(resize, parse_bytes(size)) + existing * size.startswith("+")
        resize.metadata_extents = _metadata_target(resize, wanted)


def _size_in_extents(resize: Resize, size_bytes: int) -> int:
    extents = resize.vg.to_extents(size_bytes)
    if size_bytes % resize.vg.extent_bytes:
        rounded = lvm_size(extents * resize.vg.extent_bytes)
        resize.say(f"Rounding size to boundary between physical extents: {rounded}.")
    return extents


def _check(wanted: int, existing: int, *, may_match: bool = False) -> int:
    if wanted < existing:
        raise LvmError(
            f"  New size given ({wanted} extents) not larger than "
            f"existing size ({existing} extents)"
        )
    if wanted == existing and not may_match:
        raise LvmError(
            f"  New size ({wanted} extents) matches existing size ({existing} extents)."
        )
    return wanted


def _metadata_target(resize: Resize, wanted: int) -> int:
    """Limit metadata to what the kernel can use; a repetition is no fault here."""
    existing = resize.pool.metadata_lv.extents
    largest = resize.vg.to_extents(MAX_METADATA_BYTES)
    if wanted >= existing and wanted * resize.vg.extent_bytes > MAX_METADATA_BYTES:
        size = lvm_size(MAX_METADATA_BYTES)
        resize.say(f"Reached maximum pool metadata size {size} ({largest} extents).")
        return max(existing, largest)
    return _check(wanted, existing, may_match=True)


def _plan_by_policy(resize: Resize) -> None:
    pool, state = resize.pool, resize.state
    threshold, step = state.setting(THRESHOLD, pool), state.setting(STEP, pool)
    if threshold < LOWEST_THRESHOLD:
        resize.stderr.append(
            f"  WARNING: Thin pool autoextend threshold {threshold}% is set below "
            f"minimum supported {LOWEST_THRESHOLD}%."
        )
        threshold = LOWEST_THRESHOLD
    if threshold >= NEVER:
        return
    _check_policy_can_act(pool, step)
    data, metadata = policy_percents(pool, threshold, step)
    if metadata:
        existing = pool.metadata_lv.extents
        wanted = existing + round_up(metadata * existing, 100)
        resize.metadata_extents = _metadata_target(resize, wanted)
    if data:
        existing = pool.data_lv.extents
        resize.data_extents = existing + round_up(data * existing, 100)


def _check_policy_can_act(pool: Pool, step: int) -> None:
    if not step:
        line = f"  Can't extend {pool.label} with thin-pool autoextend percent set to 0%."
        raise LvmError(line)
    if not pool.is_active:
        raise LvmError(f"  Can't read state of locally inactive LV {pool.label}.")


def _follow_with_metadata(resize: Resize) -> None:
    """Let metadata follow the data where nobody gave its size: 64 bytes a chunk."""
    if resize.metadata_extents is not None or resize.data_extents is None:
        return
    sectors = resize.data_extents * resize.vg.extent_bytes // SECTOR_BYTES
    chunk_sectors = resize.pool.spec.chunk_bytes // SECTOR_BYTES
    needed_sectors = sectors // (chunk_sectors * SECTOR_BYTES // METADATA_BYTES_PER_CHUNK)
    needed = needed_sectors * SECTOR_BYTES
    if needed > resize.pool.metadata_lv.extents * resize.vg.extent_bytes:
        wanted = _size_in_extents(resize, needed)
        resize.metadata_extents = _metadata_target(resize, wanted)


def _carry_out(resize: Resize) -> None:
    """Extend metadata and commit it, then data: a refusal of data leaves metadata grown."""
    pool = resize.pool
    if resize.metadata_extents is not None:
        _resize_lv(resize, pool.metadata_lv, resize.metadata_extents)
    if resize.data_extents is not None:
        _resize_lv(resize, pool.data_lv, resize.data_extents)
    if resize.metadata_extents is None and resize.data_extents is None:
        return
    if resize.missing_profile and pool.is_active:
        where = f"profile {resize.missing_profile} in critical section"
        resize.stderr.append(f"  Internal error: trying to load {where}.")
    # Metadata alone is LVM's main LV then, and named so.
    name = pool.label + ("_tmeta" if resize.data_extents is None else "")
    resize.say(f"Logical volume {name} successfully resized.")


def _resize_lv(resize: Resize, lv: Lv, extents: int) -> None:
    vg, old = resize.vg, lv.extents
    name, old_text = f"{vg.name}/{lv.name}", _extents_text(vg, old)
    if extents == old:
        resize.say(f"Size of logical volume {name} unchanged from {old_text}.")
        return
    new_text = _extents_text(vg, extents)
    changed = f"Size of logical volume {name} changed from {old_text} to {new_text}."
    if resize.pool.has_failed:
        resize.say(changed)
        raise _reload_refused(resize.pool)
    vg.extend(lv, extents - old)
    resize.say(changed)
    if lv.kind is LvKind.METADATA:
        _extend_spare(resize)
    else:
        vg.lvs[resize.pool.name].segments[0].extents = extents
    vg.seqno += 1
    resize.state.reload(resize.pool)


def _reload_refused(pool: Pool) -> LvmError:
    """LVM takes back what it has prepared when the kernel refuses the new table."""
    refused = f"  device-mapper: reload ioctl on  ({pool.number}) failed: Invalid argument"
    name = pool.label
    return LvmError(
        *(refused, f"  Failed to suspend logical volume {name}."),
        *(refused, f"  Failed to revert logical volume {name}."),
    )


def _extents_text(vg: Vg, extents: int) -> str:
    return f"{lvm_size(extents * vg.extent_bytes)} ({extents} extents)"


def _extend_spare(resize: Resize) -> None:
    """Keep the metadata spare as large as the largest metadata; LVM ignores a failure."""
    vg = resize.vg
    largest = max(lv.extents for lv in vg.lvs.values() if lv.kind is LvKind.METADATA)
    spare = vg.lvs.get(SPARE_NAME)
    try:
        if spare is None:
            vg.add_lv(SPARE_NAME, LvKind.SPARE, largest)
        elif spare.extents < largest:
            vg.extend(spare, largest - spare.extents)
    except NoSpaceError as error:
        resize.stderr.append(f"  {error}")
