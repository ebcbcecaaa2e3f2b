"""Which STUN and TURN servers stayed silent for an agent: those it gave up on, and those it still waits for.

A dead server takes half a minute to be given up (RFC 8489 §6.2.1); calls are often over by then. So a server that
was asked and has not answered, long after another one did, counts as silent too, and the words say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iceway.explain.messages import is_check
from iceway.trace.entry import Entry
from iceway.trace.records import (
    GatheringStarted,
    ServerAnswered,
    ServerRefused,
    ServerSkipped,
    ServerUnreachable,
    StunReceived,
    StunSent,
)

_PATIENCE = 0.5  # seconds beyond three round trips of a server that did answer


@dataclass(frozen=True, slots=True)
class SilentServer:
    """`server` is its label, `detail` what was tried, `seen` the entries that show it."""

    server: str
    detail: str
    seen: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.server}: {self.detail}"


def silent_servers(node: str, agent: str, entries: Sequence[Entry]) -> list[SilentServer]:
    """Silent servers of one agent, in the order of its list."""
    asked: list[str] = []
    settled: set[str] = set()
    answered: list[tuple[Entry, ServerAnswered]] = []
    found: list[SilentServer] = []
    for entry in entries:
        record = entry.record
        if entry.node != node or getattr(record, "agent", None) != agent:
            continue
        if isinstance(record, GatheringStarted):
            asked += [server for server in record.servers if server not in asked]
        elif isinstance(record, ServerUnreachable):
            settled.add(record.server)
            found.append(SilentServer(record.server, record.detail, (entry.id,)))
        elif isinstance(record, ServerRefused | ServerSkipped):
            settled.add(record.server)
        elif isinstance(record, ServerAnswered):
            settled.add(record.server)
            answered.append((entry, record))
    waiting = [server for server in asked if server not in settled]
    if waiting and answered:
        found += _still_waiting(node, waiting, min(record.round_trip for _, record in answered), entries)
    return found


def over(server: str) -> str:
    """The transport in a server's label: `turn:av.example.test:3478?transport=tcp` → tcp, turns: → tls or dtls."""
    if server.lower().startswith("turns:") and "transport=udp" in server.lower():
        return "dtls"
    if server.lower().startswith(("turns:", "stuns:")) or "transport=tls" in server.lower():
        return "tls"
    return "tcp" if "transport=tcp" in server.lower() else "udp"


def _still_waiting(
    node: str, servers: Sequence[str], round_trip: float, entries: Sequence[Entry]
) -> list[SilentServer]:
    answers = {
        entry.record.transaction_id
        for entry in entries
        if entry.node == node and isinstance(entry.record, StunReceived)
    }
    unanswered: dict[str, list[Entry]] = {}
    for entry in entries:
        record = entry.record
        if (
            entry.node != node
            or not isinstance(record, StunSent)
            or record.message_class.lower() != "request"
        ):
            continue
        asks = (
            record.method.lower() in ("allocate", "binding") and not is_check(record) and record.relay is None
        )
        if asks and record.transaction_id not in answers:
            unanswered.setdefault(record.transport.lower(), []).append(entry)
    found = []
    for server in servers:
        tries = unanswered.get(over(server), [])
        waited = max((e.at for e in entries), default=0.0) - tries[0].at if tries else 0.0
        if tries and waited > 3 * round_trip + _PATIENCE:
            last = tries[-1].at - tries[0].at
            many = f"{len(tries)} request{'s' if len(tries) != 1 else ''}"
            detail = (
                f"no answer to {many}"
                + (f" in {last:.1f} s" if last else "")
                + ", still trying when the trace ends"
            )
            found.append(SilentServer(server, detail, tuple(entry.id for entry in tries[:8])))
    return found
