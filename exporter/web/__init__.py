"""The web side: serves what was published; never touches the host."""
