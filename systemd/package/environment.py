"""Set up the program's own environment from the wheels that the package carries.

Run by the package's scripts as root, without network, by the Python that the environment is
for. It is made beside the present one, tried, and only then put in its place by one rename:
whatever fails or is killed before leaves the present one as it is.
"""

import argparse
import compileall
import ctypes
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from contextlib import suppress
from pathlib import Path

PREFIX = Path("/opt/thinpool-exporter")
HOUSE = Path(__file__).parent / "wheels"
LIST = "list.txt"
PROGRAM = "thinpool-exporter"
# Of rich's highlighter there are hundreds of modules, and this program uses none.
_NOT_COMPILED = r"/pygments/"


def make(prefix: Path, house: Path) -> Path:
    """Make an environment, and make prefix a link to it."""
    os.umask(0o022)
    environments = _environments(prefix)
    environments.mkdir(exist_ok=True)
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    directory = Path(tempfile.mkdtemp(prefix=f"{python}-", dir=environments))
    try:
        directory.chmod(0o755)
        _fill(directory, house)
        _try(directory)
        _settle(directory)
        _switch(prefix, directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def tidy(prefix: Path) -> None:
    """Remove every environment but the present one."""
    present = prefix.resolve()
    for directory in _environments(prefix).iterdir():
        if directory != present:
            shutil.rmtree(directory, ignore_errors=True)


def wheels(house: Path, *folders: str) -> list[Path]:
    """Find this package's wheels: rpm removes the old package's when this has run already."""
    names = (house / LIST).read_text().split()
    return [house / name for name in names if name.partition("/")[0] in folders]


def _environments(prefix: Path) -> Path:
    """Name the folder of environments, beside the link to one of them."""
    return prefix.with_name(f"{prefix.name}.d")


def _fill(directory: Path, house: Path) -> None:
    """Install the wheels. Scripts name this very folder: a process keeps to its own files."""
    (library,) = wheels(house, "installer")
    sys.path.insert(0, str(library))
    from installer import install  # noqa: PLC0415 - comes from the wheel
    from installer.destinations import SchemeDictionaryDestination  # noqa: PLC0415
    from installer.sources import WheelFile  # noqa: PLC0415

    # Not pip's way, ensurepip: Debian has that in a package of its own.
    venv.EnvBuilder(symlinks=True, with_pip=False).create(directory)
    base = {"base": str(directory), "platbase": str(directory)}
    scheme = sysconfig.get_paths(scheme="posix_prefix", vars=base)
    scheme["headers"] = str(directory / "include")
    destination = SchemeDictionaryDestination(
        scheme, interpreter=str(directory / "bin/python"), script_kind="posix"
    )
    for path in wheels(house, "shared", f"{sys.version_info[0]}.{sys.version_info[1]}"):
        with WheelFile.open(path) as wheel:
            install(wheel, destination, additional_metadata={})
    # Without bytecode it runs as well, and takes longer to start.
    with suppress(OSError, RuntimeError):
        skipped = re.compile(_NOT_COMPILED)
        compileall.compile_dir(scheme["purelib"], quiet=2, rx=skipped, workers=2)


def _try(directory: Path) -> None:
    """Run the program before anything depends on it."""
    subprocess.run([directory / "bin" / PROGRAM, "--version"], check=True)


def _settle(directory: Path) -> None:
    """Write it to the disk, and nothing else: sync(2) would wait for a pool that is full."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(descriptor)
    finally:
        os.close(descriptor)


def _switch(prefix: Path, directory: Path) -> None:
    """Point prefix to the directory. A folder there was made by hand: it is put aside."""
    if prefix.is_dir() and not prefix.is_symlink():
        aside = Path(tempfile.mkdtemp(prefix=f"{prefix.name}.replaced-", dir=prefix.parent))
        prefix.rename(aside)
        print(f"{PROGRAM}: what was in {prefix} is now in {aside}")  # noqa: T201
    link = prefix.with_name(f"{prefix.name}.new")
    link.unlink(missing_ok=True)
    link.symlink_to(directory.relative_to(prefix.parent))
    link.replace(prefix)


def main() -> None:
    """Make an environment, or remove those that are out of use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("make", "tidy"))
    parser.add_argument("--prefix", type=Path, default=PREFIX)
    arguments = parser.parse_args()
    if arguments.task == "make":
        make(arguments.prefix, HOUSE)
    else:
        tidy(arguments.prefix)


if __name__ == "__main__":
    main()
