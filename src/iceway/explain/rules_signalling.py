"""Rules about getting as far as a call: DNS, TLS, passwords, SIP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from iceway.explain.case import Case, Finding, Rule, Severity, ids
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    ConnectionClosed,
    ConnectionOpened,
    Malformed,
    NameResolved,
    Note,
    SipAuthenticationFailed,
    SipReceived,
    SipTransactionFailed,
)

_AT_ONCE = 0.1  # seconds
_REFUSALS = {
    "403": ("The server does not let the caller call there.", "Ask whoever runs the server of that domain."),
    "404": (
        "The server knows nobody of that name.",
        "Check the address; on the front end, `iceway user list` names everybody.",
    ),
    "408": ("Nobody answered in time.", "Call again later."),
    "480": (
        "The server knows the user, but no phone of theirs is registered.",
        "Start their phone, or `iceway answer`, and see that it says it is registered; then call again.",
    ),
    "486": ("They are in another call, or take none now.", "Call again later."),
    "488": (
        "The two ends have no codec, or no way to agree on keys, in common.",
        "Compare what both ends offer in the ladder; --keys says how keys may be agreed on.",
    ),
    "600": ("They are busy everywhere.", "Call again later."),
    "603": (
        "They declined.",
        "Nothing, unless nobody did; then look at the settings of the phone that was called.",
    ),
}


def _names_missing(case: Case) -> Iterator[Finding]:
    """A node none of whose SRV questions for SIP had an answer; those for relays are no matter of signalling."""
    asked: dict[str, list[tuple[Entry, NameResolved]]] = defaultdict(list)
    for entry, record in case.of(
        NameResolved, lambda r: r.record_type == "SRV" and r.name.startswith("_sip")
    ):
        asked[entry.node].append((entry, record))
    for node, questions in asked.items():
        if any(record.answers for _, record in questions):
            continue
        names = ", ".join(dict.fromkeys(record.name for _, record in questions))
        error = next((record.error for _, record in questions if record.error), None)
        addresses = [
            record
            for _, record in case.of(NameResolved, lambda r: r.record_type in ("A", "AAAA"))
            if record.answers
        ]
        yield Finding(
            Severity.WARNING if addresses and not error else Severity.ERROR,
            f"{case.name(node)} finds no server in DNS: "
            + (f"{names}: {error}" if error else f"no SRV record {names}"),
            ids(entry for entry, _ in questions),
            "Clients learn from SRV records which server handles their domain; without one they can only guess."
            if not error
            else "The name server did not give an answer at all, so nothing is known about the records.",
            f"Add the SRV record ({names.split(', ')[0]}) to the zone that this client asks, "
            "or give the server's address in its configuration."
            if not error
            else "Check that the client's name server is reachable and serves this zone.",
        )


def _certificate(case: Case) -> Iterator[Finding]:
    for entry, record in case.of(ConnectionClosed, lambda r: "certificate" in r.reason.lower()):
        reason = record.reason
        if " is for " in reason:
            meaning = "The server proves to be somebody else than the name the client looked for."
            remedy = "Issue a certificate with that name among its DNS names, or correct the name in DNS or configuration."
        elif "expired" in reason:
            meaning = "The certificate's time is over, or one of the two clocks is wrong."
            remedy = "Renew the certificate; compare the clocks of both machines."
        elif "required" in reason or "client" in reason:
            meaning = "This port speaks to peers only that show a certificate it trusts."
            remedy = "Give the connecting server an identity whose certificate the other side trusts."
        else:
            meaning = "The certificate was signed by nobody the client trusts."
            remedy = "Add the signing CA to the trusted ones, or use a certificate of a CA that is."
        where = f" to {record.remote}" if record.remote else ""
        title = f"{case.name(entry.node)}'s connection{where} ends: {reason}"
        yield Finding(Severity.ERROR, title, (entry.id,), meaning, remedy)


def _server_down(case: Case) -> Iterator[Finding]:
    """Connections refused or timed out, unless a later one to the same place came up."""
    groups: dict[tuple[str, str], list[tuple[Entry, ConnectionClosed]]] = defaultdict(list)
    for entry, record in case.of(
        ConnectionClosed,
        lambda r: any(
            word in r.reason.lower() for word in ("refused", "timed out", "unreachable", "no route")
        ),
    ):
        groups[entry.node, str(record.remote or record.stream)].append((entry, record))
    opened = {(entry.node, str(record.remote)): entry.at for entry, record in case.of(ConnectionOpened)}
    for (node, remote), closed in groups.items():
        last, record = closed[-1]
        if opened.get((node, remote), -1.0) > last.at:
            continue
        others = any(at > last.at for (who, _), at in opened.items() if who == node)
        refused = "refused" in record.reason.lower()
        yield Finding(
            Severity.WARNING if others else Severity.ERROR,
            f"{case.name(node)} cannot reach {remote}: {record.reason}"
            + (f" ({len(closed)} times)" if len(closed) > 1 else ""),
            ids(entry for entry, _ in closed),
            ("The machine is there, but nothing listens on that port." if refused
             else "Nothing came back: the machine is down, or something on the way drops the packets.")
            + (" Another server took over." if others else ""),
            "Start the service, or correct its address." if refused
            else "Check that the server runs and that firewalls let this port through.",
        )  # fmt: skip


def _wrong_password(case: Case) -> Iterator[Finding]:
    failures: dict[str, list[tuple[Entry, SipAuthenticationFailed]]] = defaultdict(list)
    for entry, record in case.of(SipAuthenticationFailed):
        failures[record.user].append((entry, record))
    for user, seen in failures.items():
        reason = seen[-1][1].reason
        unknown = any(word in reason.lower() for word in ("unknown user", "no such user", "nobody"))
        yield Finding(
            Severity.ERROR,
            f"{user or 'A client'} is not let in: {reason}",
            ids(entry for entry, _ in seen),
            "The front end does not know this user."
            if unknown
            else "The proof that the client sent does not fit the password that the front end holds (for this realm).",
            f"Add the user: iceway user add {user}"
            if unknown
            else f"Set the password again: iceway user password {user}",
        )
    if not failures:
        yield from _refused_registration(case)


def _refused_registration(case: Case) -> Iterator[Finding]:
    """The client's side alone: challenged again after it had given its proof."""
    answers: dict[str, list[Entry]] = defaultdict(list)
    for entry, record in case.of(SipReceived, lambda r: r.cseq.upper().endswith(" REGISTER")):
        if record.start_line.startswith("SIP/2.0 4"):
            answers[entry.node].append(entry)
        elif record.start_line.startswith("SIP/2.0 200"):
            answers[entry.node] = []
    for node, refused in answers.items():
        lines = [entry.record.start_line[8:] for entry in refused if isinstance(entry.record, SipReceived)]
        if len(lines) >= 2 or any(line.startswith("403") for line in lines):
            yield Finding(
                Severity.ERROR,
                f"{case.name(node)} cannot register: {', then '.join(lines[-2:])}",
                ids(refused),
                "The front end challenged again after the client had proven itself: the password or the user is wrong.",
                "Check user name and password; the front end's own trace says which of the two.",
            )


def _call_failed(case: Case) -> Iterator[Finding]:
    begun = case.of(CallState, lambda r: r.state == "trying")
    tries = [(entry.node, record.remote_uri, entry.at) for entry, record in begun]

    def made_again(entry: Entry, record: CallState) -> bool:
        """By the program itself, with another offer; nobody dials that fast. What became of that one counts."""
        return any(
            (node, peer) == (entry.node, record.remote_uri) and 0 <= at - entry.at < _AT_ONCE
            for node, peer, at in tries
        )

    failed = [found for found in case.of(CallState, lambda r: r.state == "failed") if not made_again(*found)]
    for entry, record in failed[:3]:
        cause, remedy = _REFUSALS.get(
            record.reason[:3],
            (
                "The call ended before both sides could talk.",
                "See the findings about servers and paths, and the last SIP answer in the ladder.",
            ),
        )
        yield Finding(
            Severity.ERROR,
            f"{case.name(entry.node)}'s call to {record.remote_uri} failed"
            + (f": {record.reason}" if record.reason else ""),
            (entry.id,),
            cause,
            remedy,
        )
    silent: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry, transaction in case.of(SipTransactionFailed):
        silent[entry.node, transaction.method, transaction.reason].append(entry)
    for (node, method, reason), seen in silent.items():
        yield Finding(
            Severity.ERROR if method in ("INVITE", "REGISTER", "SERVICE") else Severity.WARNING,
            f"{case.name(node)} had no answer to {method}: {reason}",
            ids(seen),
            "The request left, and no final answer came back.",
            "Look at the next hop: whether it got the request (its trace), and what it did with it.",
        )


def _unanswered(case: Case) -> Iterator[Finding]:
    """Calls that were given up before anybody answered; the caller's word for why."""
    calls: dict[str, list[tuple[Entry, CallState]]] = defaultdict(list)
    for entry, record in case.of(CallState):
        calls[record.call_id].append((entry, record))
    for steps in calls.values():
        caller = steps[0][0].node
        if any(record.state in ("confirmed", "settled", "failed") for _, record in steps):
            continue
        for entry, record in steps:
            if record.state == "ended" and entry.node == caller:
                yield Finding(
                    Severity.INFO,
                    f"{case.name(caller)}'s call to {record.remote_uri} ended unanswered: {record.reason}",
                    (entry.id,),
                    "It was given up before anybody picked up.",
                    "Nothing, unless somebody did pick up; then see the last SIP messages in the ladder.",
                )


def _garbage(case: Case) -> Iterator[Finding]:
    junk: dict[tuple[str, str], list[tuple[Entry, Malformed]]] = defaultdict(list)
    for entry, record in case.of(Malformed):
        junk[entry.node, record.protocol].append((entry, record))
    for (node, protocol), seen in junk.items():
        yield Finding(
            Severity.INFO,
            f"{case.name(node)} dropped {len(seen)} malformed {protocol} message{'s' if len(seen) != 1 else ''}",
            ids(entry for entry, _ in seen),
            f"The last one: {seen[-1][1].reason}. Servers on the internet get such things all day.",
            "Nothing, unless the sender is one of yours.",
        )


def _said(case: Case) -> Iterator[Finding]:
    """What the programs themselves warned of, once a text; a connection that came up later needs no warning."""
    notes: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry, note in case.of(Note, lambda r: r.level in ("error", "warning")):
        notes[entry.node, note.level, note.text].append(entry)
    for (node, level, text), seen in list(notes.items())[:8]:
        recovered = any(
            entry.node == node and entry.at > seen[-1].at and str(record.remote) in text
            for entry, record in case.of(ConnectionOpened)
        )
        if recovered:
            continue
        yield Finding(
            Severity.ERROR if level == "error" else Severity.WARNING,
            f"{case.name(node)}: {text}" + (f" ({len(seen)} times)" if len(seen) > 1 else ""),
            ids(seen),
            "The program itself reported this.",
            "Read on in that node's log at this time.",
        )


SIGNALLING_RULES: tuple[Rule, ...] = (
    _names_missing,
    _certificate,
    _server_down,
    _wrong_password,
    _call_failed,
    _unanswered,
    _garbage,
    _said,
)
