"""What goes into the virtual machine: packages per Debian release, and its set-up script.

Pure data; a change here gives the image another cache key.
"""

from dataclasses import dataclass

PODMAN, VDO, INCUS = "podman", "vdo", "incus"
_PACKAGES = (
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "kmod",
    "iproute2",
    "iptables",
    "lvm2",
    "dmeventd",
    "thin-provisioning-tools",
    "docker.io",
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "python3",
    "openssh-server",
    "e2fsprogs",
    "xfsprogs",
    "fio",
    "busybox-static",
    "procps",
    "psmisc",
    "strace",
    "curl",
    "ca-certificates",
    "rpm",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPython:
    """A Python from a newer release's source package, for one whose own is too old."""

    source: str
    suite: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A Debian release of the version matrix."""

    name: str
    compiled_python: CompiledPython | None = None
    has_security: bool = True
    has_devicemapper: bool = True
    # Newer LVM calls the data of a pool locked while pvmove is at it, and refuses.
    extends_what_moves: bool = True
    # Older LVM makes no pool of an LV with a writecache.
    pools_on_writecache: bool = True
    # Docker 23 and newer can keep images in containerd's store.
    has_containerd_store: bool = True
    extra_packages: tuple[str, ...] = ()

    @property
    def has_podman(self) -> bool:
        """Whether podman is there beside Docker."""
        return PODMAN in self.packages

    @property
    def has_vdo(self) -> bool:
        """Whether LVM can make VDO volumes, which its kernel has since 6.9."""
        return VDO in self.packages

    @property
    def packages(self) -> tuple[str, ...]:
        """Every package of the image, sorted so that the cache key is stable."""
        return tuple(sorted((*_PACKAGES, *self.extra_packages)))


RELEASES = {
    release.name: release
    for release in (
        # Its own Python is 3.9. The mirrors' security suite lacks some of what it lists.
        Release(
            name="bullseye",
            has_security=False,
            pools_on_writecache=False,
            has_containerd_store=False,
            compiled_python=CompiledPython(source="python3.11", suite="bookworm"),
        ),
        Release(name="bookworm", has_containerd_store=False),
        Release(
            name="trixie",
            has_devicemapper=False,
            extends_what_moves=False,
            # Its Docker is without devicemapper: podman is whose pools are LVM's there.
            extra_packages=("docker-cli", PODMAN, VDO),
        ),
        # Not released yet: what it has changes from day to day.
        Release(
            name="forky",
            has_security=False,
            has_devicemapper=False,
            extends_what_moves=False,
            extra_packages=("docker-cli", PODMAN, VDO, INCUS),
        ),
    )
}

# $1 is the root directory, $2 the public key. Nothing that this project is about starts at
# boot: each scenario starts the docker, dmeventd or monitoring that it needs.
CUSTOMIZE_SCRIPT = """
set -eu
root=$1

echo thinpool-vm > "$root/etc/hostname"
echo '127.0.0.1 localhost thinpool-vm' > "$root/etc/hosts"
: > "$root/etc/fstab"

mkdir -p "$root/etc/systemd/network" "$root/etc/ssh/sshd_config.d" "$root/root/.ssh"
cat > "$root/etc/systemd/network/80-dhcp.network" <<EOT
[Match]
Name=en* eth*
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
EOT
# Without PAM a login makes no session scope: half the cost of a command.
cat > "$root/etc/ssh/sshd_config.d/vm.conf" <<EOT
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
MaxSessions 100
MaxStartups 100
EOT
install -m 600 "$2" "$root/root/.ssh/authorized_keys"
chmod 700 "$root/root/.ssh"

mkdir -p "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system.conf.d"
printf '[Journal]\\nStorage=volatile\\nRateLimitBurst=0\\n' \\
    > "$root/etc/systemd/journald.conf.d/vm.conf"
printf '[Manager]\\nDefaultTimeoutStopSec=20s\\n' > "$root/etc/systemd/system.conf.d/vm.conf"

chroot "$root" systemctl enable systemd-networkd.service ssh.service
chroot "$root" systemctl disable docker.service docker.socket containerd.service \\
    dm-event.socket dm-event.service lvm2-monitor.service
chroot "$root" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \\
    e2scrub_all.timer e2scrub_reap.service fstrim.timer logrotate.timer \\
    systemd-networkd-wait-online.service getty@tty1.service serial-getty@ttyS0.service \\
    systemd-timesyncd.service
rm -f "$root/etc/docker/daemon.json"

# A small initrd: unpacking a full one costs seconds under software emulation.
printf 'MODULES=list\\n' > "$root/etc/initramfs-tools/conf.d/vm"
printf '%s\\n' virtio_pci virtio_blk ext4 > "$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u
"""
