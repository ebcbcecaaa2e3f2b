"""Rules about the path, and the sound and pictures on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from iceway.explain.case import Case, Finding, Rule, Severity, ids
from iceway.explain.model import PathClass
from iceway.explain.streams import AUDIO, bare, named
from iceway.explain.why import udp_blocked
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    ConsentLost,
    MediaKeyFailed,
    MediaQuality,
    MediaRejected,
    MediaStarted,
    MediaSummary,
    PairSelected,
)

LATE = 1.0  # seconds from answer to sound that a person notices
_LOSS = 0.05  # share of packets lost that a person hears


def _no_path(case: Case) -> Iterator[Finding]:
    """Answered, and no pair ever worked: what the tried pairs say about it."""
    for one in case.verdicts:
        if one.path is not PathClass.NONE or not one.pairs or one.state not in ("failed", "checking"):
            continue
        answered = [
            entry
            for entry, record in case.of(CallState, lambda r: r.state in ("confirmed", "settled"))
            if entry.node == one.node
        ]
        if one.state != "failed" and not answered:
            continue
        relays = [
            f"{case.name(node)} had no relay candidate"
            for node, held in ((one.node, one.local_candidates), (one.peer, one.remote_candidates))
            if node and not any(candidate.type == "relay" for candidate in held)
        ]
        why = "; ".join(str(reason) for reason in one.why_not[:4])
        yield Finding(
            Severity.ERROR,
            f"{case.name(one.node)}'s call was answered, but none of {len(one.pairs)} pairs works"
            if answered
            else f"{case.name(one.node)} found no path: none of {len(one.pairs)} pairs works",
            ids(answered) or case.last_of(one.node),
            (f"{why}. " if why else "") + ("; ".join(relays) + "." if relays else "Both sides had a relay."),
            "Give both sides a relay they can reach: it connects where NATs do not."
            if relays
            else "Check that the relay's own port range is open for UDP on its firewall.",
        )


def _disagreement(case: Case) -> Iterator[Finding]:
    for one in case.verdicts:
        other = next(
            (
                v
                for v in case.verdicts
                if v.node == one.peer and v.agent == one.peer_agent and v.local is not None
            ),
            None,
        )
        if one.agreed is False and one.local is not None and other is not None and one.node < other.node:
            chosen = [entry for entry, _ in case.of(PairSelected) if entry.node in (one.node, other.node)]
            yield Finding(
                Severity.ERROR,
                f"The two ends chose different paths: {case.name(one.node)} {one.local} ↔ {one.remote}, "
                f"{case.name(other.node)} {other.local} ↔ {other.remote}",
                ids(chosen[-4:]),
                "Each end sends where the other may not listen; the nomination got lost on the way.",
                "Restart ICE (a new re-INVITE); report it with this trace.",
            )


def _symmetric_nats(case: Case) -> Iterator[Finding]:
    for one in case.verdicts[:1]:
        symmetric = [(node, case.nats.symmetric(node)) for node in (one.node, one.peer) if node]
        proven = [(node, remapping) for node, remapping in symmetric if remapping is not None]
        if not proven or not one.path.relayed:
            continue
        both = len(proven) == 2
        lines = "; ".join(f"for {case.cast.name(node)}, {remapping}" for node, remapping in proven)
        yield Finding(
            Severity.INFO,
            "Both sides are behind symmetric NATs, so sound has to go through the relay"
            if both
            else f"{case.name(proven[0][0])} is behind a symmetric NAT, so sound goes through the relay",
            tuple(seen for _, remapping in proven for seen in remapping.seen),
            f"Such a NAT uses another outside port for each destination, so what the edge sees is of no use to "
            f"the peer ({lines}).",
            "Normal. For a direct path, switch the NAT to endpoint-independent mapping (RFC 4787), "
            "often called full cone or port preservation.",
        )


def _blocked_udp(case: Case) -> Iterator[Finding]:
    """One side's UDP blocked, said once a call even if gathering already was a finding for the other rules."""
    for one in case.verdicts:
        view = next(v for v in case.agents if (v.node, v.agent) == (one.node, one.agent))
        if one.path is PathClass.RELAY_TLS and udp_blocked(view, case.entries):
            yield Finding(
                Severity.INFO,
                f"{case.name(one.node)} can only speak through TLS to the relay",
                (view.first.id,),
                "UDP and plain TCP do not pass; TLS on port 443 looks like web traffic and does.",
                "Let UDP out to the edge for better sound.",
            )


def _one_way(case: Case) -> Iterator[Finding]:
    for media in dict.fromkeys(record.media for _, record in case.of(MediaStarted)):
        yield from _one_way_of(case, media)


def _one_way_of(case: Case, media: str) -> Iterator[Finding]:
    sent: dict[str, list[Entry]] = defaultdict(list)
    received: set[str] = set()
    for entry, record in case.of(MediaStarted, lambda r: r.media == media):
        if record.direction == "sent":
            sent[entry.node].append(entry)
        else:
            received.add(entry.node)
    for entry, summary in case.of(MediaSummary, lambda r: r.media == media):
        if summary.packets_received:
            received.add(entry.node)
    ended = {entry.node for entry, _ in case.of(CallState, lambda r: r.state == "ended")}
    ended |= {entry.node for entry, _ in case.of(MediaSummary)}
    peers = {one.node: one.peer for one in case.verdicts}
    for node, entries in sent.items():
        peer = peers.get(node, "")
        peer_is_here = peer in case.cast.nodes and (peer in sent or peer in received or peer in ended)
        if peer_is_here and peer not in received and peer in ended:
            yield _one_way_finding(case, media, node, peer, entries)
        elif media == AUDIO and not peer_is_here and node not in received and node in ended:
            # Pictures often go one way only, so that none came says nothing unless the other end says it sent some.
            yield _one_way_finding(case, media, peer or "the other side", node, entries)


def _one_way_finding(case: Case, media: str, speaker: str, deaf: str, seen: list[Entry]) -> Finding:
    rejected = [
        (entry, record)
        for entry, record in case.of(MediaRejected, lambda r: r.media == media)
        if entry.node == deaf
    ]
    if rejected:
        cause = f"Packets did arrive, but were thrown away: {rejected[0][1].reason}."
        remedy = "The two ends do not agree on keys or codecs; compare the a=crypto and m= lines of offer and answer."
    else:
        cause = "No packet arrived at all, although the path had been checked."
        remedy = "Look for a firewall that lets STUN through but not RTP, or for a NAT mapping that expired in silence."
    return Finding(
        Severity.ERROR,
        f"One-way sound: {case.name(deaf)} never heard {case.name(speaker)}"
        if media == AUDIO
        else f"{case.name(deaf)} never saw {case.name(speaker)}'s {bare(media)}",
        ids([*seen, *(entry for entry, _ in rejected)]),
        cause,
        remedy,
    )


def _keyless(case: Case) -> Iterator[Finding]:
    for entry, record in case.of(MediaKeyFailed):
        yield Finding(
            Severity.ERROR,
            f"No sound: {case.name(entry.node)} has no keys for it",
            (entry.id,),
            f"{record.reason[:1].upper()}{record.reason[1:]}.",
            "If it happens again with the same two ends, let one of them agree on keys by SDES over TLS; a fingerprint "
            "that does not fit is a reason to look for who stands in between.",
        )


def _late(case: Case) -> Iterator[Finding]:
    for one in case.verdicts:
        wait = one.answer_to_media
        if wait is None or wait < LATE:
            continue
        trips = f" ({one.media_round_trips:.0f} round trips)" if one.media_round_trips else ""
        seen = [
            e
            for e, r in case.of(MediaStarted, lambda r: r.direction == "received" and r.media == AUDIO)
            if e.node == one.node
        ]
        yield Finding(
            Severity.WARNING,
            f"{case.name(one.node)} heard the first sound {wait:.1f} s after the answer{trips}",
            ids(seen[:1]),
            "The path was still being searched when the call was picked up, or the other side began late.",
            "Send candidates early (183 with reliable provisional responses), so that checks run while it rings.",
        )


def _consent(case: Case) -> Iterator[Finding]:
    for entry, record in case.of(ConsentLost):
        again = any(e.node == entry.node and e.at > entry.at for e, _ in case.of(PairSelected))
        yield Finding(
            Severity.WARNING if again else Severity.ERROR,
            f"{case.name(entry.node)}'s path died: nothing heard on pair {record.pair} for {record.silent_for:.0f} s",
            (entry.id,),
            "Every few seconds each end asks whether the other still wants its packets (RFC 7675); the answers stopped."
            + (" Another path was found." if again else ""),
            "Look for what changed at that time: a NAT that restarted, a network that was left, a peer that went away.",
        )


def _loss(case: Case) -> Iterator[Finding]:
    judged = {
        (entry.node, record.media) for entry, record in case.of(MediaQuality)
    }  # by what was heard and seen
    for entry, record in case.of(MediaSummary):
        if (entry.node, record.media) in judged:
            continue
        total = record.packets_received + record.packets_lost
        if total and record.packets_lost / total > _LOSS:
            yield Finding(
                Severity.WARNING,
                f"{case.name(entry.node)} lost {record.packets_lost / total:.0%} of {named(record.media)} "
                f"({record.packets_lost} of {total} packets)",
                (entry.id,),
                f"Jitter was {record.jitter * 1000:.0f} ms; {record.packets_late} packets came too late to be played.",
                "Look at the slowest link of the path (Wi-Fi, uplink); a relay nearer to both sides may help.",
            )


def _rejected(case: Case) -> Iterator[Finding]:
    reasons: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry, record in case.of(MediaRejected):
        reasons[entry.node, "play" if record.media == AUDIO else "show", record.reason].append(entry)
    for (node, verb, reason), seen in reasons.items():
        yield Finding(
            Severity.WARNING,
            f"{case.name(node)} did not {verb} some of what came in: {reason}",
            ids(seen),
            "Packets arrived on the call's path that do not belong to the call, or were changed on the way.",
            "If the call is right to ear and eye, nothing; else compare keys and payload types of offer and answer.",
        )


MEDIA_RULES: tuple[Rule, ...] = (
    _no_path,
    _disagreement,
    _symmetric_nats,
    _blocked_udp,
    _one_way,
    _keyless,
    _late,
    _consent,
    _loss,
    _rejected,
)
