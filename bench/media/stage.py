"""A front end on loopback, for clients that call each other through it: python bench/media/stage.py DIRECTORY USER …

Prints one line of JSON once it serves: its port and the file of its authority. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from pathlib import Path

from iceway.frontend.config import FrontEndConfig, ListenConfig, TlsFiles
from iceway.frontend.run import running_frontend
from iceway.frontend.users import add_user
from iceway.io.devca import DevCa
from iceway.io.run import loop_factory

HOME, DOMAIN, PASSWORD = "127.0.0.1", "example.test", "secret"


async def main(directory: Path, users: list[str]) -> None:
    ca = DevCa.open(directory)
    own = ca.issue("frontend", [f"fe.{DOMAIN}", HOME])
    port = _free_port()
    config = FrontEndConfig(
        domain=DOMAIN,
        name=f"fe.{DOMAIN}",
        listen=(ListenConfig(address=f"{HOME}:{port}"),),
        edges=(),
        tls=TlsFiles(certificate=own.certificate, key=own.key, trust=ca.certificate_path),
        database=str(directory / "fe.sqlite"),
    )
    async with running_frontend(config) as running:
        for user in users:
            add_user(running.store, user, PASSWORD, DOMAIN, time.time())
        print(json.dumps({"port": port, "trust": str(ca.certificate_path)}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOME, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(Path(sys.argv[1]), sys.argv[2:]))
