"""A root shell in a fresh virtual machine with the present wheel installed."""

import os
import sys

from tests.vm import payload
from tests.vm.image import cached_image, missing_tools
from tests.vm.machine import Machine


def main() -> int:
    """Boot, hand over the terminal, and remove everything when the shell ends."""
    if missing := missing_tools():
        print(f"missing on this host: {', '.join(missing)}", file=sys.stderr)  # noqa: T201
        return 1
    release = os.environ.get("THINPOOL_VM_RELEASE", "bookworm")
    print(f"building or finding the image of {release} …", file=sys.stderr)  # noqa: T201
    image = cached_image(release)
    print("booting …", file=sys.stderr)  # noqa: T201
    with Machine(image) as machine:
        payload.install(machine)
        web = machine.port(10128)
        print(f"the guest's port 10128 is http://127.0.0.1:{web}", file=sys.stderr)  # noqa: T201
        return machine.interactive()


if __name__ == "__main__":
    sys.exit(main())
