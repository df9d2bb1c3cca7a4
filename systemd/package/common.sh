#!/bin/sh
# Part of every script of the packages: build.py puts it before each of them, since the
# scripts run when the package's files are not there yet, or no longer.
set -eu

PREFIX=/opt/thinpool-exporter
ENVIRONMENTS=$PREFIX.d
OURS=/usr/lib/thinpool-exporter
FLAGS=/etc/default/thinpool-exporter
GROUP=thinpool-snapshot
GUARD=thinpool-guard.service
WEB=thinpool-exporter.service
SOCKET=thinpool-exporter.socket
WANTED=/etc/systemd/system
PLACES='/usr/bin /usr/local/bin'
# There while systemd runs: not in a container, nor below rpm --root.
SYSTEMD=/run/systemd/system

# Asked of a Python: whether there are wheels for it, and whether it is all there.
QUESTION='
import sys
version = "%d.%d.%d" % tuple(sys.version_info[:3])
if not (3, 10) <= sys.version_info < (3, 15):
    sys.exit("%s, which is not of 3.10 to 3.14" % version)
try:
    import ctypes, ssl, sysconfig, venv, zlib
except ImportError as error:
    sys.exit("%s, a part of it is missing: %s" % (version, error))
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit("%s, free-threaded" % version)
'

say() {
    echo "thinpool-exporter: $*" >&2
}

# PYTHONS: those that will do, the newest first. OTHERS: what is wrong with the others.
find_pythons() {
    PYTHONS='' OTHERS=''
    for name in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
        for place in $PLACES; do
            python=$place/$name
            [ -x "$python" ] || continue
            if answer=$("$python" -I -c "$QUESTION" 2>&1); then
                PYTHONS="$PYTHONS $python"
            else
                OTHERS="$OTHERS
  $python: $(echo "$answer" | tail -n 1)"
            fi
        done
    done
}

require_python() {
    find_pythons
    [ -z "$PYTHONS" ] || return 0
    say "it needs a Python of 3.10 to 3.14, whole, in one of $PLACES. Found:${OTHERS:- none}
Install one (Debian 12, Ubuntu 22.04 or newer: apt-get install python3; RHEL 8 or 9:
dnf install python3.12), or link one that you have: ln -s /path/to/python3.12 /usr/local/bin/
Nothing has been changed."
    exit 1
}

make_group() {
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers thinpool-exporter.conf
    elif ! getent group "$GROUP" >/dev/null; then
        groupadd --system "$GROUP"
    fi
}

# What is there stays as it is, and what runs goes on, unless this succeeds.
make_environment() {
    find_pythons
    for python in $PYTHONS; do
        if "$python" -I "$OURS/environment.py" make; then
            # Labels, where there is SELinux: programs below bin are not like other files.
            ! command -v restorecon >/dev/null || restorecon -R "$PREFIX" "$ENVIRONMENTS" || :
            return 0
        fi
        say "no environment with $python"
    done
    say "its environment could not be made; what was there before is left as it was.$OTHERS"
    return 1
}

is_running() {
    systemctl show -p ActiveState --value "$1" | grep -qxE 'active|activating|reloading'
}

# The flags that systemd gives to the web side, split as it does; faults of theirs, and of the
# files that they name, are as bad as those of config.yml.
check_config() {
    flags=$(sed -n 's/^ARGS=//p' "$FLAGS" 2>/dev/null | tail -n 1 |
        sed -e 's/^"\(.*\)"$/\1/' -e "s/^'\(.*\)'\$/\1/")
    set -f
    # shellcheck disable=SC2086
    "$PREFIX/bin/thinpool-exporter" check-config $flags
}

# What runs is restarted by systemd, which spares an lvextend that is under way. A guard that
# would not start with this configuration is left to run: better the old one than none.
restart_running() {
    [ -d $SYSTEMD ] || return 0
    systemctl daemon-reload
    if ! is_running "$GUARD" && ! is_running "$WEB"; then
        return 0
    fi
    if ! faults=$(check_config 2>&1); then
        say "nothing was restarted, since the new version does not accept the configuration:
$faults
When it is mended: systemctl restart $GUARD $WEB"
        return 1
    fi
    if ! systemctl try-restart "$GUARD" "$WEB"; then
        say "not restarted as it should be: see systemctl status $GUARD $WEB"
        return 1
    fi
}

# Units that were installed by hand hide those of the package.
tell_hidden_units() {
    for unit in "$GUARD" "$WEB" "$SOCKET"; do
        [ ! -f "/etc/systemd/system/$unit" ] ||
            say "/etc/systemd/system/$unit hides the package's unit: remove it"
    done
}

# The environments that are out of use go when nothing runs in them any more.
set_up() {
    make_group
    tell_hidden_units
    make_environment
    ! restart_running || tidy
    tell_stopped_units
}

tidy() {
    "$PREFIX/bin/python" -I "$OURS/environment.py" tidy
}

# When the host has got another Python.
mend() {
    "$PREFIX/bin/python" -I -c 'import exporter' 2>/dev/null && return 0
    say "the Python that its environment was made with is gone"
    make_environment && restart_running && tidy || :
}

stop() {
    [ ! -d $SYSTEMD ] || systemctl stop "$WEB" "$SOCKET" "$GUARD" || :
}

# By hand, since the units are gone when a deb is purged.
disable() {
    for unit in "$GUARD" "$WEB" "$SOCKET"; do
        rm -f "$WANTED"/*.target.wants/"$unit"
    done
}

# A package that is installed again finds its units enabled, but nothing starts them until the
# next boot. Nor does it start what somebody has stopped.
tell_stopped_units() {
    [ -d $SYSTEMD ] || return 0
    for unit in "$GUARD" "$WEB"; do
        ! systemctl is-enabled --quiet "$unit" || is_running "$unit" ||
            say "$unit is enabled and does not run: systemctl start $unit"
    done
}

remove_environments() {
    rm -rf "$ENVIRONMENTS"
    [ ! -L "$PREFIX" ] || rm -f "$PREFIX"
    [ ! -d $SYSTEMD ] || systemctl daemon-reload || :
}

remove_state() {
    rm -rf /run/thinpool-exporter
}
