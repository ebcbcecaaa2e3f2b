"""Calls as anybody would make them: every program a process of its own, on real sockets of this machine."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.media.heard import compare
from iceway.media.speech import speech
from iceway.trace.records import MediaStarted, Registered, SipReceived, SipSent
from tests.e2e.programs import DOMAIN, Company, Program, password
from tests.e2e.story import Story, every


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    company = Company(tmp_path)
    yield company
    company.close()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """`iceway serve` and its users, for programs that are to fail."""
    company = Company(tmp_path_factory.mktemp("office"))
    company.serves()
    company.adds("alice", "bob")
    yield company
    company.close()


def heard_both_ways(company: Company, call: str, number: int) -> None:
    """Sound of Bob's in the caller's recording, and of Alice's in Bob's of his n-th call."""
    for speaker, recording in (("bob", f"{call}.wav"), ("alice", f"bob-{number}.wav")):
        heard = compare(speech(speaker), company.path(recording))
        assert heard.share >= 0.95, f"{recording}: {heard}"


def test_a_call_and_another_after_the_server_was_killed(company: Company) -> None:
    serve = company.serves()
    company.adds("alice", "bob")
    bob = company.answers("bob")

    first = company.calls("alice", "bob", "first", "--json")
    assert first.ends() == 0, first.told()
    events = [json.loads(line) for line in first.output.splitlines()]
    assert [event["event"] for event in events] == ["registered", "answered", "ended"]
    assert events[-1]["path"] == PathClass.DIRECT.value
    bob.prints("^bob ↔ alice: direct")
    heard_both_ways(company, "first", 1)

    serve.killed()
    bob.prints("^registration lost, trying again: ")
    company.serves("serve-again")
    bob.prints("^registered again$")
    second = company.calls("alice", "bob", "second")
    assert second.ends() == 0, second.told()
    assert "alice ↔ bob: direct, host 127.0.0.1:" in second.output
    bob.prints("^bob ↔ alice: direct", times=2)
    heard_both_ways(company, "second", 2)

    assert bob.interrupted() == 0
    for name in ("first", "second", "bob"):
        trace = company.trace(name)
        assert verdict(trace, "bob" if name == "bob" else "alice").path is PathClass.DIRECT
        assert {record.direction for record in every(trace, MediaStarted)} == {"sent", "received"}


def test_a_call_is_passed_on(company: Company) -> None:
    company.serves()
    company.adds("alice", "bob", "carol")
    bob = company.answers("bob", "--ring-for", "0")
    carol = company.run(
        "carol",
        *("-v", "answer", *company.account("carol"), "--play", str(speech("alice")), "--ring-for", "0"),
        ICEWAY_PASSWORD=password("carol"),
    )
    carol.prints("registered as")
    words = ("call", f"bob@{DOMAIN}", *company.account("alice"), "--transfer", f"carol@{DOMAIN}")
    alice = company.done("alice", *words, ICEWAY_PASSWORD=password("alice"))
    assert alice.process.returncode == 0, alice.told()
    assert f"they talk with sip:carol@{DOMAIN} now" in alice.output
    bob.prints("^talking with them now")
    carol.prints(f"^talking with sip:bob@{DOMAIN}")
    carol.prints("MediaStarted.*direction=received")
    assert bob.interrupted() == 0
    carol.prints("^carol ↔ bob: direct")
    assert carol.interrupted() == 0

    words = ("call", f"carol@{DOMAIN}", *company.account("bob"), "--transfer", f"nobody@{DOMAIN}", "--json")
    carol = company.run("carol-again", "answer", *company.account("carol"), ICEWAY_PASSWORD=password("carol"))
    carol.prints("registered as")
    failed = company.done("bob-again", *words, ICEWAY_PASSWORD=password("bob"))
    assert failed.process.returncode == 1, failed.told()
    assert json.loads(failed.output.splitlines()[-1]) == {"event": "failed", "reason": "404 Not Found"}


def test_only_the_front_end_is_killed_between_two_calls(company: Company) -> None:
    """The binding is in the database, and the flow to Bob is the edge's: nobody has to register again."""
    company.serves().interrupted()
    company.adds("alice", "bob")
    frontend, edge = company.starts("frontend", "frontend"), company.starts("edge", "edge")
    bob = company.answers("bob")
    assert company.calls("alice", "bob", "first").ends() == 0
    bob.prints("^bob ↔ alice: direct")

    frontend.killed()
    edge.prints("No connection to the front end")
    again = company.starts("frontend", "frontend-again")
    again.prints(r"ConnectionOpened.*incoming=True peer_names=edge\.")  # the edge is back
    second = company.calls("alice", "bob", "second")
    assert second.ends() == 0, second.told()
    bob.prints("^bob ↔ alice: direct", times=2)
    heard_both_ways(company, "second", 2)

    assert bob.interrupted() == 0
    trace = company.trace("bob")
    story = Story(trace).then("bob", Registered)
    first_call = story.then("bob", SipReceived, start="INVITE").record
    assert isinstance(first_call, SipReceived)
    while True:
        invite = story.then("bob", SipReceived, start="INVITE").record
        assert isinstance(invite, SipReceived)
        if invite.call_id != first_call.call_id:
            break
    before = trace[: trace.index(story.entry)]
    registers = [record.cseq for record in every(before, SipSent, "bob", start="REGISTER")]
    assert len(registers) == 2, "the challenge and its answer, at the beginning"
    assert "registered again" not in bob.output
    assert again.interrupted() == edge.interrupted() == 0
    served = company.trace("frontend-again")
    assert not every(served, Registered, aor="bob")
    Story(served).then("frontend", SipReceived, start="INVITE sip:bob@").then(
        "frontend", SipSent, start="INVITE sip:bob@"
    )
    Story(company.trace("edge")).then("edge", SipSent, start="INVITE sip:bob@")


# --- what goes wrong is said, with the next step --------------------------------------------------------
def failing_call(office: Company, *options: str, word: str = password("alice"), peer: str = "bob") -> Program:
    program = office.done("failing", "call", f"{peer}@{DOMAIN}", *options, ICEWAY_PASSWORD=word)
    assert program.process.returncode == 1, program.told()
    return program


def test_a_wrong_password(office: Company) -> None:
    failing = failing_call(office, *office.account("alice"), word="guessed")
    assert "not registered: 401 Unauthorized (is the password right?)" in failing.output
    assert "iceway user password alice" in failing.output
    (line,) = failing_call(office, *office.account("alice"), "--json", word="guessed").output.splitlines()
    told = json.loads(line)
    assert told["event"] == "failed"
    assert told["reason"].startswith("401")


def test_a_server_that_is_not_there(office: Company) -> None:
    nowhere = next(port for port in range(19000, 20000) if port not in office.ports.values())
    failing = failing_call(office, *office.account("alice"), "--server", f"tls:{office.ip}:{nowhere}")
    assert f"not registered: tls {office.ip}:{nowhere}: connection refused" in failing.output
    assert "Start the service, or correct its address" in failing.output


def test_a_name_that_nobody_knows(office: Company) -> None:
    options = ("--as", f"alice@{DOMAIN}", "--nameserver", f"{office.ip}:9", "--interface", "127.0.0.1")
    failing = failing_call(office, *options)
    assert failing.output.startswith("not registered: ")
    assert DOMAIN in failing.output
    assert len(failing.output.splitlines()) > 1, "no next step"


def test_an_authority_that_did_not_sign_the_server_s_certificate(office: Company) -> None:
    other = office.path("data/ca/frontend.pem")
    failing = failing_call(office, *office.account("alice"), "--ca", str(other))
    assert "certificate not trusted" in failing.output
    assert "Add the signing CA to the trusted ones" in failing.output


def test_somebody_who_is_not_there(office: Company) -> None:
    assert "no call: 480 Temporarily Unavailable" in failing_call(office, *office.account("alice")).output
    nobody = failing_call(office, *office.account("alice"), peer="carol")
    assert "no call: 404 Not Found" in nobody.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["edge", "--config", "missing.toml"], 3, "missing.toml cannot be read: No such file or directory"),
        (["frontend", "--config", "missing.toml"], 3, "missing.toml cannot be read"),
        (["edge", "--config", "bad.toml"], 3, "bad.toml: relay.udp_port: "),
        (["frontend", "--config", "data/frontend.toml"], 3, r"port \d+ on 127\S+ is in use"),
        (["call", "bob@example.test"], 2, "Missing option '--as'"),
        (["call", "bob@example.test", "--as", "alice@example.test"], 2, "set ICEWAY_PASSWORD"),
        (["edge", "--nonsense"], 2, "--nonsense"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_what_is_wrong_before_it_starts(office: Company, arguments: list[str], code: int, words: str) -> None:
    toml = office.path("data/edge.toml").read_text(encoding="utf-8")
    port = office.ports["relay-port"]
    office.path("bad.toml").write_text(toml.replace(f"udp_port = {port}", 'udp_port = "many"'))
    wrong = office.done("wrong", *arguments)
    assert wrong.process.returncode == code, wrong.told()
    assert wrong.output == ""
    assert re.search(words, wrong.errors), wrong.told()


# --- Ctrl-C -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_every_program_ends_when_told_to(company: Company, number: signal.Signals) -> None:
    serve = company.serves()
    company.adds("alice", "bob")
    bob = company.answers("bob", "--ring-for", "60")
    alice = company.run(
        "alice",
        *("call", f"bob@{DOMAIN}", *company.account("alice"), "--trace", "alice.jsonl"),
        ICEWAY_PASSWORD=password("alice"),
    )
    bob.prints("alice@example.test calls$")
    assert alice.interrupted(number) == 130
    bob.prints("^no call: ")
    # In either order: a CANCEL waits for the first response to its INVITE (RFC 3261 §9.1).
    trace = company.trace("alice")
    Story(trace).then("alice", SipSent, start="CANCEL")
    Story(trace).then("alice", SipSent, start="REGISTER", says="^Expires: 0")
    assert bob.interrupted(number) == 0
    assert serve.interrupted(number) == 0
    for program in (serve, bob, alice):
        assert program.errors == ""
