case "$1" in
remove) remove_environments ;;
purge)
    remove_environments
    remove_state
    rm -rf /etc/thinpool-exporter
    ! getent group "$GROUP" >/dev/null || groupdel "$GROUP" || :
    ;;
esac
