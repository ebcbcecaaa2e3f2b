"""What the kernel tells about its interfaces, in a network namespace of the test's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, subprocess
from iceway.core.machine import AddressesChanged
from iceway.io.driver import Driver
from tests.io.harness import Toy

async def main():
    toy = Toy()
    async with Driver(toy):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for change in ("add", "del"):
            before = len(toy.all(AddressesChanged))
            subprocess.run(["ip", "address", change, "192.0.2.7/32", "dev", "lo"], check=True)
            async with asyncio.timeout(2):  # the driver's own look comes only every five seconds
                while len(toy.all(AddressesChanged)) == before:
                    await asyncio.sleep(0.01)
            print(toy.all(AddressesChanged)[-1].ips)

asyncio.run(main())
"""


@pytest.mark.kernel("unshare", "ip")
def test_an_address_that_comes_and_goes_is_told_at_once() -> None:
    done = subprocess.run(
        ["unshare", "-Urn", sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    came, went = done.stdout.splitlines()
    assert came == "('192.0.2.7',)"
    assert "192.0.2.7" not in went
