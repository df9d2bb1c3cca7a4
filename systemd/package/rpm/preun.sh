# 0: removed. 1: the old package, after an upgrade.
[ "$1" -ne 0 ] || stop
