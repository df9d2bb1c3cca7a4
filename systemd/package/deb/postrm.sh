case "$1" in
remove) remove_environments ;;
purge)
    disable
    remove_environments
    remove_state
    # What the user has put there, a key or a hook, is not ours to remove.
    rmdir /etc/thinpool-exporter 2>/dev/null || :
    ! getent group "$GROUP" >/dev/null || groupdel "$GROUP" || :
    ;;
esac
