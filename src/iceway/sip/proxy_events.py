"""What a proxy and its owner say to each other: requests that arrived, hops to forward them to, what came of those."""

from __future__ import annotations

from dataclasses import dataclass

from iceway.sip.endpoint import Flow, Target
from iceway.wire.sip import Request


@dataclass(frozen=True, slots=True)
class Hop:
    """Where one fork of a request goes: its Request-URI, Route values to push, and the address or flow.

    `client` says that the flow is a client's own, so that its dialogs need the flow's token to come back.
    `fallback` is tried when this way turns out to be dead. `unreachable` is the status for the caller when
    it is, and nothing better is known. `label` is the owner's, given back in `HopFailed`.
    """

    uri: str
    target: Target
    routes: tuple[str, ...] = ()
    client: bool = False
    fallback: Hop | None = None
    unreachable: int = 480
    label: object = None


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """A request to answer or to forward. `transaction` is None for the ACK of a 2xx.

    `destination` is the flow that our own Route value named. `gone`: it named one that is no more, and there
    is nowhere else to go: 430. `ours`: it had a Route value of ours, so it belongs to a dialog (or a
    registration) that passed here before.
    """

    transaction: str | None
    request: Request
    flow: Flow
    destination: Flow | None = None
    gone: bool = False
    ours: bool = False
    loop_mark: str = ""


@dataclass(frozen=True, slots=True)
class HopFailed:
    """A hop was dead: no connection (503), no answer (408), or an edge says its client's flow is gone (430)."""

    hop: Hop
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Granted:
    """The request got further than a refusal: a 2xx to it, or ringing, was passed back."""

    arrived: RequestArrived
