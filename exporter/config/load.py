"""The configuration file: text in, frozen Settings or a ConfigError with every fault out."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from msgspec.structs import replace

from exporter.config.document import LOADER, Faults, Loader, Scalar, Tree, read_yaml, shown
from exporter.config.keys import ANY_POOL, IGNORED, KEYS, SECTIONS
from exporter.config.settings import (
    CollectSettings,
    Commands,
    GuardSettings,
    HookSettings,
    PoolSettings,
    Settings,
)
from exporter.errors import ConfigError

MAX_FILE_BYTES = 1024 * 1024
MAX_FAULTS = 50
# lvm(8): up to 127 of these, no hyphen first, neither "." nor ".."
LVM_NAME = re.compile(r"(?!\.{1,2}$)[\w+.][\w+.-]{0,126}", re.ASCII)
Values = dict[str, object]


def load(path: Path | None, *, required: bool) -> Settings:
    """Read the file; a missing one that is not required leaves every default.

    Raises ConfigError.
    """
    if path is None:
        return Settings()
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not required:
            return Settings()
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_FILE_BYTES} bytes"])
    try:
        return parse(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 at byte {error.start + 1}"]) from error


def parse(text: str, loader: Loader = LOADER) -> Settings:
    """Read the file's text: YAML, with the keys of KEYS.

    Units: durations and sizes as exporter.units reads them.
    Raises ConfigError that holds every fault, each with its key or its line.
    """
    faults: Faults = []
    tree = _mapping(read_yaml(text, loader, faults), "the file", faults)

    def values(section: str) -> Values:
        return _values(tree.get(section), section, faults=faults)

    settings = Settings(
        guard=replace(GuardSettings(), **values("guard")),
        collect=replace(CollectSettings(), **values("collect")),
        pools=_pools(tree.get("pools"), faults),
        commands=replace(Commands(), **values("commands")),
        hook=replace(HookSettings(), **values("hook")),
    )
    unknown = [name for name in tree if name not in SECTIONS]
    faults += [_unknown(shown(name), "guard", name) for name in unknown[:MAX_FAULTS]]
    if faults:
        raise ConfigError(faults[:MAX_FAULTS] + ["and more"] * (len(faults) > MAX_FAULTS))
    return settings


def _pools(tree: Tree | None, faults: Faults) -> dict[str, PoolSettings]:
    pools = {}
    for name, value in _mapping(tree, "pools", faults).items():
        path = f"pools.{shown(name)}"
        vg_name, _, pool_name = name.partition("/")
        if not (LVM_NAME.fullmatch(vg_name) and LVM_NAME.fullmatch(pool_name)):
            faults.append(f"{path}: not the name of a pool such as docker/thinpool")
        values = _values(value, ANY_POOL, path=path, faults=faults)
        pools[name] = replace(PoolSettings(), **values)
    return pools


def _values(tree: Tree | None, section: str, *, path: str = "", faults: Faults) -> Values:
    """Convert the values of one section, by the field that takes each."""
    keys = {key.leaf: key for key in KEYS if key.name == f"{section}.{key.leaf}"}
    path = path or section
    values = {}
    for leaf, value in _mapping(tree, path, faults).items():
        if len(faults) > MAX_FAULTS:
            break  # it takes time to find what each unknown key was meant to be
        if f"{section}.{leaf}" in IGNORED:
            continue
        if leaf not in keys:
            faults.append(_unknown(f"{path}.{shown(leaf)}", section, leaf))
        elif value is not None:
            try:
                values[keys[leaf].field] = keys[leaf].convert(_scalar(value))
            except ValueError as error:
                faults.append(f"{path}.{leaf}: {error}")
    return values


def _scalar(value: Tree) -> Scalar:
    if not isinstance(value, Scalar):
        raise ValueError("takes one value, not keys of its own")  # noqa: TRY004 - the value is wrong
    if value.is_empty:
        raise ValueError("has no value")
    return value


def _mapping(tree: Tree | None, path: str, faults: Faults) -> dict[str, Tree | None]:
    """Take the keys below `path`; a section without any is as good as none."""
    if isinstance(tree, dict):
        return tree
    if tree is not None and not tree.is_empty:
        faults.append(f"{path}: takes keys of its own, not a value")
    return {}


def _unknown(path: str, section: str, leaf: str) -> str:
    """Name the key that was meant: of this section, or else of another."""
    by_nearness = sorted(KEYS, key=lambda key: key.name == f"{section}.{key.leaf}")
    known = {name: name for name in SECTIONS} | {key.leaf: key.name for key in by_nearness}
    near = difflib.get_close_matches(leaf[:100], known, 1)
    return f"{path}: unknown key" + (f"; did you mean {known[near[0]]}?" if near else "")
