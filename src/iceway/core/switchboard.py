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
    """The children of one machine. The parent calls `route`, then handles what `outputs` yields.

    A child that `rests` is not asked for outputs or its deadline again before something was done to it: one may have
    hundreds. What the board does to it, the board knows; what the parent does, the parent tells with `wake`.
    """

    def __init__(self) -> None:
        self.children: dict[str, Machine] = {}
        self._socket_owner: dict[Address, str] = {}
        self._order: dict[str, int] = {}
        self._restless: dict[str, None] = {}  # in the order in which they came
        self._loud: set[str] = set()  # resting ones that may have something to say,
        self._unasked: set[str] = set()  # whose deadline may have changed,
        self._stirred: set[str] = set()  # and to whom anything was done since the parent asked
        self._deadlines: dict[str, float] = {}

    def add(self, name: str, child: Machine, *, rests: bool = False) -> None:
        """`rests`: nobody but this board and its parent ever touches the child."""
        self.children[name] = child
        self._order[name] = max(self._order.values(), default=0) + 1
        if rests:
            self.wake(name)
        else:
            self._restless[name] = None

    def remove(self, name: str) -> None:
        """Forget a child. Drain it first: what is still in its queue is lost."""
        self.children.pop(name, None)
        self._order.pop(name, None)
        self._deadlines.pop(name, None)
        self._restless.pop(name, None)
        for names in (self._loud, self._unasked, self._stirred):
            names.discard(name)
        self._socket_owner = {local: owner for local, owner in self._socket_owner.items() if owner != name}

    def wake(self, name: str | None = None) -> None:
        """The parent did something to a child that rests; None: perhaps to any."""
        for one in (self.children.keys() - self._restless.keys()) if name is None else (name,):
            if one not in self._restless:
                self._loud.add(one)
                self._unasked.add(one)
                self._stirred.add(one)

    def stirred(self) -> list[str]:
        """The resting children to whom anything was done since this was asked last, in order."""
        names, self._stirred = self._stirred, set()
        return sorted(names, key=self._order.__getitem__)

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
                self.wake()
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
        self.wake(name)
        self.children[name].handle_input(event, now)
        return True

    def handle_timeout(self, now: float) -> None:
        for name in self._listening(self._due(now)):
            child = self.children.get(name)
            if child is None:
                continue
            if name in self._restless:
                at = child.poll_timeout()
                if at is None or at > now:
                    continue
            self.wake(name)
            child.handle_timeout(now)

    def poll_timeout(self) -> float | None:
        self._ask()
        resting = min(self._deadlines.values()) if self._deadlines else None
        return earliest(resting, *(self.children[name].poll_timeout() for name in self._restless))

    def outputs(self) -> Iterator[tuple[str, object]]:
        """Drain every child until all are quiet, yielding (child name, output).

        The consumer may call into children while iterating; what they then say is yielded too.
        """
        quiet = False
        while not quiet:
            quiet = True
            for name in self._listening(self._loud):
                child = self.children.get(name)
                while child is not None and (output := child.poll_output()) is not None:
                    quiet = False
                    if isinstance(output, CloseUdp):
                        self._socket_owner.pop(output.local, None)
                    yield name, output
                self._loud.discard(name)
            quiet = quiet and not self._loud

    # --- helpers ------------------------------------------------------------------------------------------
    def _listening(self, resting: set[str]) -> list[str]:
        """Those of the resting and all who never rest, in the order in which they came."""
        if not resting:
            return list(self._restless)
        return sorted(self._restless.keys() | resting, key=self._order.__getitem__)

    def _due(self, now: float) -> set[str]:
        self._ask()
        return {name for name, at in self._deadlines.items() if at <= now}

    def _ask(self) -> None:
        for name in self._unasked:
            at = self.children[name].poll_timeout()
            if at is None:
                self._deadlines.pop(name, None)
            else:
                self._deadlines[name] = at
        self._unasked.clear()
