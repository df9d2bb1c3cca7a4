"""The processes of this program: wires the parts and runs them to the end."""
