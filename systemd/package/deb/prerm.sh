case "$1" in
remove) stop ;;
esac
