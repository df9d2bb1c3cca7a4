case "$1" in
install | upgrade) require_python ;;
esac
