"""How a machine is composed of machines: inputs go to the child that owns the key, outputs come up in order.

A child is registered under a name and prefixes every key it chooses with `{name}/`. The switchboard reads
the prefix to route an input, and remembers which child opened which UDP socket, so that datagrams find it.
Names may contain slashes themselves; the longest registered prefix wins.
"""

from __future__ import annotations

from collections.abc import Iterator

from iceway.core.address import Address
from iceway.core.machine import (
    AddressesChanged,
    ClockSet,
    CloseUdp,
    DatagramReceived,
    Input,
    Machine,
    UdpOpened,
    earliest,
)


class Switchboard:
    """The children of one machine. The parent calls `route`, then handles what `outputs` yields."""

    def __init__(self) -> None:
        self.children: dict[str, Machine] = {}
        self._socket_owner: dict[Address, str] = {}

    def add(self, name: str, child: Machine) -> None:
        self.children[name] = child

    def remove(self, name: str) -> None:
        """Forget a child. Drain it first: what is still in its queue is lost."""
        self.children.pop(name, None)
        self._socket_owner = {local: owner for local, owner in self._socket_owner.items() if owner != name}

    def owner(self, key: str) -> str | None:
        """The name of the child that chose this key, or None."""
        end = len(key)
        while (end := key.rfind("/", 0, end)) > 0:
            if key[:end] in self.children:
                return key[:end]
        return None

    def route(self, event: Input, now: float) -> bool:
        """Hand an input to the child it concerns (clock and addresses to all). False: it is nobody's."""
        match event:
            case ClockSet() | AddressesChanged():
                for child in list(self.children.values()):
                    child.handle_input(event, now)
                return True
            case DatagramReceived(local=local):
                name = self._socket_owner.get(local)
            case UdpOpened(key=key, local=local):
                name = self.owner(key)
                if name is not None:
                    self._socket_owner[local] = name
            case _:
                # An accepted stream is named after its listener's key, so its prefix routes as well.
                name = self.owner(event.stream if hasattr(event, "stream") else event.key)
        if name is None or name not in self.children:
            return False
        self.children[name].handle_input(event, now)
        return True

    def handle_timeout(self, now: float) -> None:
        for child in list(self.children.values()):
            at = child.poll_timeout()
            if at is not None and at <= now:
                child.handle_timeout(now)

    def poll_timeout(self) -> float | None:
        return earliest(*(child.poll_timeout() for child in self.children.values()))

    def outputs(self) -> Iterator[tuple[str, object]]:
        """Drain every child until all are quiet, yielding (child name, output).

        The consumer may call into children while iterating; what they then say is yielded too.
        """
        quiet = False
        while not quiet:
            quiet = True
            for name, child in list(self.children.items()):
                while (output := child.poll_output()) is not None:
                    quiet = False
                    if isinstance(output, CloseUdp):
                        self._socket_owner.pop(output.local, None)
                    yield name, output
