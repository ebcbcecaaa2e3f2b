"""Relay credentials, from the client's side: what to ask, what to make of the answer, when to ask again.

The question is a SERVICE request to the address that the 200 to REGISTER named; the answer lists relays by
location, each with a UDP and a TCP port ([MS-AVEDGEA]). Each becomes one TURN server per port for the ICE
agent; whether a relay is reached over UDP or TCP is found out by trying both at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iceway.core.address import Address, Transport, is_ip
from iceway.core.errors import ParseError
from iceway.ice.config import IceServer, ServerKind
from iceway.trace.records import CredentialsReceived
from iceway.wire import mras

WANTED = 8 * 3600.0  # seconds: what is asked for; the edge grants at most its policy
RENEW_AT = 0.8  # of the granted time


@dataclass(frozen=True, slots=True)
class RelayGrant:
    """What one answer granted: the servers to use until `duration` seconds are over."""

    servers: tuple[IceServer, ...] = field(repr=False)
    duration: float
    records: tuple[CredentialsReceived, ...]


def question(identity: str, service: str, location: mras.Location, request_id: str) -> bytes:
    """The body of the SERVICE request."""
    wanted = mras.CredentialsRequest(request_id, identity, location, int(WANTED // 60))
    return mras.serialize_request(
        mras.MrasRequest(request_id=request_id, to=service, from_=identity, credentials=(wanted,))
    )


def grant(body: bytes, location: mras.Location) -> RelayGrant:
    """The grant in a 200's body; relays for another location are left out unless there are no others.

    Raises ParseError if the body is none, or if it refuses (then the message is the reason phrase).
    """
    response = mras.parse_response(body)
    if response.reason is not mras.ReasonPhrase.OK:
        raise ParseError(f"the credential service answered {response.reason.value!r}")
    if not response.credentials:
        raise ParseError("the credential service answered without credentials")
    credentials = response.credentials[0]
    here = [relay for relay in credentials.relays if relay.location is location]
    duration = credentials.duration * 60.0
    servers: list[IceServer] = []
    records: list[CredentialsReceived] = []
    for relay in here or credentials.relays:
        for port, transport in ((relay.udp_port, Transport.UDP), (relay.tcp_port, Transport.TCP)):
            if port is not None:
                servers.append(
                    IceServer(
                        kind=ServerKind.TURN,
                        host=relay.host,
                        port=port,
                        transport=transport,
                        username=credentials.username,
                        password=credentials.password,
                        address=Address.of(relay.host, port) if is_ip(relay.host) else None,
                    )
                )
        records.append(CredentialsReceived(relay.host, relay.udp_port, relay.tcp_port, duration))
    return RelayGrant(tuple(servers), duration, tuple(records))
