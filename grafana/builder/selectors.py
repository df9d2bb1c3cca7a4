"""What the host's queries ask for: the host, and the pools that the reader has chosen."""

from __future__ import annotations

# Without a label of that name, .* is what it has.
FLEET = 'cluster=~"$cluster", job=~"$job"'
HOST = f'{FLEET}, instance=~"$instance"'
POOL = f'{HOST}, vg=~"$vg", pool=~"$pool"'
# How a pool is named beside a line.
NAME = "{{vg}}/{{pool}}"
