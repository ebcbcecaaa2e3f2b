"""Somebody who talks with one, then with another, and brings the two together: `consult.py IDENTITY FIRST SECOND`.

Runs in a directory of the laboratory's office, with its authority and password files.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from iceway.client import Client


async def consult(identity: str, password: str, first: str, second: str) -> None:
    name = identity.partition(":")[2].partition("@")[0]
    async with Client(identity, password, trust=["ca/ca.pem"], trace=f"{name}.jsonl") as me:
        waiting = await me.call(first)
        await waiting.settled(20)
        waiting.hold()
        consulted = await me.call(second)
        await consulted.settled(20)
        await asyncio.sleep(1.0)
        waiting.transfer_to(consulted)
        await waiting.transferred(20)
        await asyncio.gather(waiting.ended(10), consulted.ended(10))
        sys.stdout.write("brought together\n")
        sys.stdout.flush()


def main(identity: str, first: str, second: str) -> None:
    name = identity.partition(":")[2].partition("@")[0]
    password = Path(f"{name}.password").read_text(encoding="utf-8").strip()
    asyncio.run(consult(identity, password, first, second))


if __name__ == "__main__":
    main(*sys.argv[1:4])
