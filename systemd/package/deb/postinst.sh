case "$1" in
configure) set_up ;;
triggered) mend ;;
esac
