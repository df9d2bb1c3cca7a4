# 0: removed. 1: the old package, after an upgrade.
if [ "$1" -eq 0 ]; then
    stop
    disable
fi
