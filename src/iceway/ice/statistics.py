"""Statistics in the shape of the W3C's WebRTC Statistics API: a report is a dictionary of dictionaries by id.

Names and units are the W3C's (milliseconds for `timestamp`, seconds for round trips), so that tools which read
reports of browsers read these as well. What is not known is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from iceway.ice.candidate import Candidate
from iceway.ice.checklist import CandidatePair

Report = dict[str, dict[str, object]]


_STATES = {"gathering": "new"}  # RTCIceTransportState knows gathering apart


@dataclass(frozen=True, slots=True)
class Transport:
    """What a report says about one component of an agent. `local` and `remote` are candidates, paired or not."""

    name: str
    component: int
    state: str
    role: str
    local_ufrag: str
    remote_ufrag: str | None
    local: tuple[Candidate, ...]
    remote: tuple[Candidate, ...]
    selected: CandidatePair | None
    changes: int


def report(transports: Iterable[Transport], pairs: Iterable[CandidatePair], now: float) -> Report:
    """All transports, their pairs and candidates."""
    found: Report = {}
    pairs = tuple(pairs)
    timestamp = now * 1000
    ids = {transport.component: f"{transport.name}/{transport.component}" for transport in transports}
    for transport in transports:
        chosen = transport.selected
        entry: dict[str, object] = {
            "type": "transport",
            "iceState": _STATES.get(transport.state, transport.state),
            "iceRole": transport.role,
            "iceLocalUsernameFragment": transport.local_ufrag,
            "selectedCandidatePairId": _pair_id(ids, chosen) if chosen else None,
            "selectedCandidatePairChanges": transport.changes,
        }
        own = [pair.counts for pair in pairs if pair.component == transport.component]
        for name in ("packets_sent", "packets_received", "bytes_sent", "bytes_received"):
            first, second = name.split("_")
            entry[first + second.capitalize()] = sum(getattr(counts, name) for counts in own)
        id = ids[transport.component]
        found[id] = _known(entry)
        for side, candidates in (("local", transport.local), ("remote", transport.remote)):
            for candidate in candidates:
                found |= _candidate(id, side, candidate, transport)
    known = {transport.component: transport for transport in transports}
    selected = [transport.selected for transport in transports]
    for pair in pairs:
        transport_id = ids[pair.component]
        local, remote = pair.valid_local or pair.local, pair.remote
        for side, candidate in (("local", local), ("remote", remote)):
            found |= _candidate(transport_id, side, candidate, known[pair.component])
        counts = pair.counts
        entry = {
            "type": "candidate-pair",
            "transportId": transport_id,
            "localCandidateId": _candidate_id(transport_id, "local", local),
            "remoteCandidateId": _candidate_id(transport_id, "remote", remote),
            "state": pair.state.value.replace(" ", "-"),
            "priority": pair.priority,
            "nominated": any(pair is chosen for chosen in selected),
            "packetsSent": counts.packets_sent,
            "packetsReceived": counts.packets_received,
            "bytesSent": counts.bytes_sent,
            "bytesReceived": counts.bytes_received,
            "currentRoundTripTime": pair.round_trip,
            "totalRoundTripTime": counts.total_round_trip,
            "requestsSent": counts.requests_sent,
            "requestsReceived": counts.requests_received,
            "responsesSent": counts.responses_sent,
            "responsesReceived": counts.responses_received,
            "consentRequestsSent": counts.consent_requests_sent,
        }
        found[_pair_id(ids, pair)] = _known(entry)
    for id, member in found.items():
        member |= {"id": id, "timestamp": timestamp}
    return found


def _pair_id(ids: dict[int, str], pair: CandidatePair) -> str:
    return f"{ids[pair.component]}/pair.{pair.id}"


def _candidate_id(transport_id: str, side: str, candidate: Candidate) -> str:
    return f"{transport_id}/{side}/{candidate.type.value}/{candidate.transport.value}/{candidate.address}"


def _candidate(transport_id: str, side: str, candidate: Candidate, transport: Transport) -> Report:
    related = candidate.related
    entry = _known(
        {
            "type": f"{side}-candidate",
            "transportId": transport_id,
            "usernameFragment": transport.local_ufrag if side == "local" else transport.remote_ufrag,
            "address": candidate.address.ip,
            "port": candidate.address.port,
            "protocol": candidate.transport.value,
            "candidateType": candidate.type.value,
            "priority": candidate.priority,
            "foundation": candidate.foundation,
            "relatedAddress": related.ip if related else None,
            "relatedPort": related.port if related else None,
            "relayProtocol": candidate.relay_transport.value if candidate.relay_transport else None,
            "url": candidate.server,
            "tcpType": candidate.tcp_type,
        }
    )
    return {_candidate_id(transport_id, side, candidate): entry}


def _known(entry: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in entry.items() if value is not None}
