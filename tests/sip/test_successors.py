"""Connections that take the place of others, by what was registered over them."""

from __future__ import annotations

from iceway.sip import successors
from iceway.sip.successors import Successors
from iceway.wire.sip import Headers, Request


def register(user: str, instance: str | None, reg_id: int = 1, expires: int = 3600) -> Request:
    params = f';+sip.instance="<{instance}>";reg-id={reg_id}' if instance else ""
    return Request(
        "REGISTER",
        "sip:example.test",
        headers=Headers.of(
            ("To", f"<sip:{user}@example.test>"),
            ("Contact", f"<sip:{user}@192.0.2.1>{params}"),
            ("Expires", str(expires)),
        ),
    )


def test_a_device_that_comes_back_takes_over_and_again() -> None:
    known = Successors()
    assert known.registered(register("alice", "urn:uuid:1"), "one") is None
    assert known.registered(register("alice", "urn:uuid:1"), "one") is None  # a refresh
    assert known.registered(register("alice", "urn:uuid:1"), "two") == "one"
    assert known.registered(register("alice", "urn:uuid:1"), "three") == "two"
    assert known.of("one") == known.of("two") == known.of("three") == "three"


def test_nobody_takes_over_what_was_not_theirs() -> None:
    known = Successors()
    known.registered(register("alice", "urn:uuid:1"), "hers")
    assert known.registered(register("mallory", "urn:uuid:1"), "other user") is None
    assert known.registered(register("alice", "urn:uuid:2"), "other device") is None
    assert known.registered(register("alice", "urn:uuid:1", reg_id=2), "second flow") is None
    assert known.registered(register("alice", None), "no device") is None
    assert known.of("hers") == "hers"


def test_whoever_unregistered_has_nothing_to_take_over() -> None:
    known = Successors()
    known.registered(register("alice", "urn:uuid:1"), "one")
    known.registered(register("alice", "urn:uuid:1", expires=0), "one")
    assert known.registered(register("alice", "urn:uuid:1"), "two") is None


def test_a_flow_that_comes_round_leads_nowhere_else() -> None:
    """As ids of UDP flows do, which are addresses."""
    known = Successors()
    for flow in ("one", "two", "one"):
        known.registered(register("alice", "urn:uuid:1"), flow)
    assert known.of("two") == "one"
    assert known.of("one") == "one"


def test_memory_is_bounded() -> None:
    known = Successors()
    for number in range(successors.MAX_DEVICES + 50):
        known.registered(register("alice", f"urn:uuid:{number}"), f"{number}")
    assert len(known._flows) == successors.MAX_DEVICES
