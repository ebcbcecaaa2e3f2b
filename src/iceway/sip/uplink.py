"""A user agent's way into the network: one flow to its outbound proxy, found, opened, kept alive, replaced.

Targets are configured, or located from the user's domain; they are tried in turn until a flow is up. The flow
is pinged (RFC 5626 §4.4); when it fails, the owner hears of it and decides when to try again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.sip.endpoint import Endpoint, Flow, FlowClosed, FlowOpened, ListenFailed, Listening, Target
from iceway.sip.locate import Located, Locator, NotLocated

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Uplink:
    """See the module's law. `on_up`, `on_down` and `on_failed` are the owner's ears.

    `on_down` tells that a flow which was up has ended; `on_failed` that no target could be reached.
    """

    endpoint: Endpoint
    locator: Locator
    domain: str
    configured: tuple[Target, ...]
    on_up: Callable[[Flow, float], None]
    on_down: Callable[[str, float], None]
    on_failed: Callable[[str, float], None]
    local_ip: str = "0.0.0.0"
    flow: Flow | None = None
    _targets: list[Target] = field(default_factory=list)
    _question: str | None = None
    _opening: str | None = None
    _socket: str | None = None
    _faults: list[str] = field(default_factory=list)

    @property
    def is_idle(self) -> bool:
        """Neither up nor on its way there."""
        return self.flow is None and not (self._question or self._opening or self._socket)

    def ensure(self, now: float) -> None:
        """Get a flow up unless there is one or it is being made."""
        if not self.is_idle:
            return
        self._faults = []
        if self.configured:
            self._targets = list(self.configured)
            self._next(now)
        else:
            self._question = self.locator.locate_domain(self.domain, now)

    def abandon(self, reason: str, now: float) -> None:
        """This flow leads nowhere (nobody answers over it): close it and try the next target."""
        if self.flow is None:
            return
        lost, self.flow = self.flow, None
        self._faults.append(f"{_where(lost)}: {reason}")
        self.endpoint.close_flow(lost.id, now, reason)
        self._next(now)

    def renew(self, reason: str, now: float) -> None:
        """Our network changed: whatever there was leads nowhere. Begin anew, without `on_down`."""
        lost, self.flow = self.flow, None
        opening, self._opening = self._opening, None
        self._question = self._socket = None
        for flow_id in (lost.id if lost else None, opening):
            if flow_id is not None:
                self.endpoint.close_flow(flow_id, now, reason)
        self.ensure(now)

    def close(self, now: float) -> None:
        """Close the flow, or give up getting one."""
        self._question = self._opening = self._socket = None
        self._targets = []
        lost, self.flow = self.flow, None
        if lost is not None:
            self.endpoint.close_flow(lost.id, now)

    def handle(self, event: object, now: float) -> None:
        """Take in an event of the endpoint or the locator."""
        match event:
            case Located(question=question, targets=targets) if question == self._question:
                self._question, self._targets = None, list(targets)
                self._next(now)
            case NotLocated(question=question, reason=reason) if question == self._question:
                self._question = None
                self.on_failed(reason, now)
            case Listening(key=key) if key == self._socket:
                self._socket = None
                self._open(self._targets.pop(0), now)
            case ListenFailed(key=key, reason=reason) if key == self._socket:
                self._socket = None
                self._faults.append(f"no UDP socket: {reason}")
                self._targets.pop(0)
                self._next(now)
            case FlowOpened(flow=flow) if flow.id == self._opening:
                self._up(flow, now)
            case FlowClosed(flow=flow, reason=reason) if flow.id == self._opening:
                self._opening = None
                self._faults.append(f"{_where(flow)}: {reason}")
                self._next(now)
            case FlowClosed(flow=flow, reason=reason) if self.flow is not None and flow.id == self.flow.id:
                self.flow = None
                self.on_down(reason, now)

    def _next(self, now: float) -> None:
        if not self._targets:
            faults, self._faults = self._faults, []
            self.on_failed("; ".join(faults) or "no server to go to", now)
            return
        target = self._targets[0]
        if target.transport is Transport.UDP and not self.endpoint.has_udp_socket(target.address):
            local_ip = self.local_ip
            if target.address.family == 6 and ":" not in local_ip:
                local_ip = "::"
            self._socket = self.endpoint.listen(Transport.UDP, Address(local_ip, 0), now)
        else:
            self._open(self._targets.pop(0), now)

    def _open(self, target: Target, now: float) -> None:
        flow_id = self.endpoint.open_flow(target, now)
        if flow_id is None:
            self._faults.append(f"{target.transport} {target.address}: too many connections")
            self._next(now)
        elif (flow := self.endpoint.flow(flow_id)) is not None:
            self._up(flow, now)
        else:
            self._opening = flow_id

    def _up(self, flow: Flow, now: float) -> None:
        self._opening, self.flow = None, flow
        self.endpoint.keep_alive(flow.id, now)
        self.on_up(flow, now)


def _where(flow: Flow) -> str:
    return f"{flow.transport} {flow.remote}"
