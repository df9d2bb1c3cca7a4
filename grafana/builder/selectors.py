"""What the host's queries ask for: the host, and the pools that the reader has chosen."""

from __future__ import annotations

HOST = 'job=~"$job", instance=~"$instance"'
POOL = f'{HOST}, vg=~"$vg", pool=~"$pool"'
# How a pool is named beside a line.
NAME = "{{vg}}/{{pool}}"
