"""Alice, Bob and Carol in headquarters, for transfers between different makes of telephone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from iceway.frontend.store import SqlStore
from iceway.frontend.users import add_user
from iceway.lab import topologies
from iceway.lab.kernel_office import KernelOffice
from iceway.lab.office import password_of
from iceway.lab.topologies import DOMAIN
from iceway.lab.topology import Host, Interface


def three_in_a_lan(directory: Path) -> KernelOffice:
    lan = topologies.one_lan()
    desk = Host("carol", (Interface("hq", "10.0.0.30"),), gateway="10.0.0.1", nameserver="10.0.0.53")
    return KernelOffice(replace(lan, hosts=(*lan.hosts, desk)), directory)


def carol_joins(office: KernelOffice, play: Path) -> None:
    """She has our client, and answers one call."""
    store = SqlStore(str(office.directory / "frontend.sqlite"))
    add_user(store, "carol", password_of("carol"), DOMAIN, time.time())
    store.close()
    (office.directory / "carol.password").write_text(password_of("carol") + "\n")
    office.answers("carol", play, "carol.wav", 0.5)
