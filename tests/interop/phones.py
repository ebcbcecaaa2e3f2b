"""Our client in the office as a program of its own, and what is left of it: its trace and what it told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from iceway.lab.kernel_office import KernelOffice
from iceway.lab.office import password_of
from iceway.lab.topologies import DOMAIN
from iceway.media.speech import speech
from iceway.trace.entry import Entry, read_lines

PEERS = Path(__file__).parent / "peers"


class OurPhone:
    """Our client with a test pattern for a camera, on the host of `name`, for one call."""

    def __init__(self, office: KernelOffice, name: str, number: int, **orders: object) -> None:
        self._office = office
        self.program = f"{name}-iceway-{number}"
        self.record = office.directory / f"{self.program}.wav"
        wishes = {
            "identity": f"sip:{name}@{DOMAIN}",
            "password": password_of(name),
            "ca": str(office.directory / "ca" / "ca.pem"),
            "play": str(speech(name)),
            "record": str(self.record),
            "trace": f"{self.program}.jsonl",
            **orders,
        }
        orders_file = office.directory / f"{self.program}.json"
        orders_file.write_text(json.dumps(wishes))
        argv = [sys.executable, str(PEERS / "iceway_phone.py"), str(orders_file)]
        office.launch(name, argv, self.program)
        office.wait_for_line(self.program, '"registered"')

    def closes(self) -> dict[str, Any]:
        """What it told at the end of its call."""
        return closing(self._office, self.program)


def closing(office: KernelOffice, program: str) -> dict[str, Any]:
    office.wait_for_line(program, '"closed"')
    office.ends(program)
    told = [json.loads(line) for line in office.log(program).splitlines() if line.startswith('{"did"')]
    return next(news for news in told if news.get("did") == "closed")


def trace_of(who: str, directory: Path) -> list[Entry]:
    with (directory / f"{who}.jsonl").open(encoding="utf-8") as lines:
        return list(read_lines(lines))
