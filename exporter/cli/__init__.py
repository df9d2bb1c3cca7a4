"""The commands, a module for each: its options in, an exit status out.

__main__ imports the one that is asked for. What another one needs would take each process
four to six MiB, and a sixth of a second at its start.
"""
