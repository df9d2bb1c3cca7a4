"""Build and cache the Debian disk image that the virtual machine boots.

Enters: a release name. Leaves: a cache entry holding disk.qcow2, vmlinuz, initrd and an
SSH key. Needs no root, no loop mount, and no network beyond the host's own apt mirror.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.vm import interpreter, mirror
from tests.vm.recipe import CUSTOMIZE_SCRIPT, RELEASES, Release

DISK_SIZE = "12G"  # sparse: room for Docker's loop files and the wheelhouse
TOOLS = (
    "mmdebstrap",
    "mke2fs",
    "qemu-img",
    "qemu-system-x86_64",
    "ssh",
    "ssh-keygen",
    "setpriv",
)

_UNPACK_AND_FORMAT = f"""
set -e
mkdir root && tar -C root -xf root.tar
cp -L root/vmlinuz vmlinuz && cp -L root/initrd.img initrd && chmod 644 vmlinuz initrd
mke2fs -q -t ext4 -m 0 -E lazy_itable_init=0,nodiscard -d root disk.raw {DISK_SIZE}
rm -rf root root.tar
"""


@dataclass(frozen=True, slots=True)
class Image:
    """One cache entry: everything QEMU needs to boot, and the key to log in."""

    release: Release
    directory: Path

    @property
    def disk(self) -> Path:
        """The root disk; used as a backing file only, never written."""
        return self.directory / "disk.qcow2"

    @property
    def kernel(self) -> Path:
        """The kernel beside the disk."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initial RAM disk beside the disk."""
        return self.directory / "initrd"

    @property
    def key(self) -> Path:
        """The private SSH key whose public half root accepts."""
        return self.directory / "id_ed25519"


def missing_tools() -> tuple[str, ...]:
    """Name the programs that the virtual machine needs and this host lacks."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return tuple(tool for tool in TOOLS if shutil.which(tool, path=path) is None)


def cache_root() -> Path:
    """Choose the cache directory: outside the repository, kept between runs."""
    if chosen := os.environ.get("THINPOOL_VM_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "thinpool-exporter" / "vm"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold path's lock, so that two builders do not do the same work twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached_image(name: str) -> Image:
    """Return the image of a release, building it when its recipe is not cached."""
    release = RELEASES[name]
    entry = cache_root() / f"{name}-{_recipe_hash(release)}"
    image = Image(release, entry)
    if entry.is_dir():
        return image
    with exclusive(entry.parent / f"{entry.name}.lock"):
        if not entry.is_dir():
            _build(release, entry)
    return image


def _recipe_hash(release: Release) -> str:
    """Hash what decides the image's content; the mirror's state is left out on purpose."""
    parts = [release.name, release.packages, CUSTOMIZE_SCRIPT, _UNPACK_AND_FORMAT, DISK_SIZE]
    if python := release.compiled_python:
        parts.append(interpreter.key(release, python))
    recipe = json.dumps(parts)
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def _build(release: Release, entry: Path) -> None:
    """Build beside the entry and rename at the end: an entry is complete or absent."""
    work = Path(tempfile.mkdtemp(prefix=f"{entry.name}.building-", dir=entry.parent))
    try:
        key = ("-N", "", "-C", "vm", "-f", "id_ed25519")
        mirror.run(["ssh-keygen", "-q", "-t", "ed25519", *key], work)
        (work / "customize.sh").write_text(CUSTOMIZE_SCRIPT)
        mirror.run(_argv_mmdebstrap(release, work), work)
        # The tarball's owners survive only under root, real or in a user namespace.
        become_root = [] if os.geteuid() == 0 else ["mmdebstrap", "--unshare-helper"]
        mirror.run([*become_root, "sh", "-c", _UNPACK_AND_FORMAT], work)
        mirror.run(["qemu-img", "convert", "-O", "qcow2", "disk.raw", "disk.qcow2"], work)
        (work / "disk.raw").unlink()
        work.chmod(0o755)
        work.rename(entry)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _argv_mmdebstrap(release: Release, work: Path) -> list[str]:
    """Bootstrap with the host's mirrors and the host's way of reaching them."""
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--architectures=amd64",
        f"--include={','.join(release.packages)}",
        *mirror.options(),
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        f'--customize-hook=sh {work / "customize.sh"} "$1" {work / "id_ed25519.pub"}',
        *_python_hooks(release),
        release.name,
        "root.tar",
        *mirror.sources(release),
    ]


def _python_hooks(release: Release) -> list[str]:
    """Put a Python into /usr/local where the release's own is too old."""
    if release.compiled_python is None:
        return []
    archive = interpreter.compiled(release, release.compiled_python, cache_root())
    return [f"--customize-hook=tar-in {archive} /usr/local"]


def main() -> None:
    """Build the image that the tests will use and print where it is."""
    print(cached_image(os.environ.get("THINPOOL_VM_RELEASE", "bookworm")).directory)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
