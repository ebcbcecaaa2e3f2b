"""Handshakes between two ends in virtual time: over good and bad paths, with strangers, with garbage."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from iceway.core.machine import drain, earliest
from iceway.io.selfsigned import media_identity
from iceway.media import dtls
from iceway.media.dtls import (
    FIRST_REPEAT,
    HANDSHAKE_LIMIT,
    DtlsAssociation,
    DtlsIdentity,
    KeysAgreed,
    KeysFailed,
    SendHandshake,
)
from iceway.trace.records import Malformed, MediaKeyed, MediaKeyFailed
from iceway.wire.fingerprint import Fingerprint

ALICE, BOB, MALLORY = media_identity(), media_identity(), media_identity()
DELAY = 0.030
Lose = Callable[[str, int], bool]
_PAIR = {"alice": (ALICE, BOB.fingerprint), "bob": (BOB, ALICE.fingerprint)}


def associate(who: DtlsIdentity, whom: Fingerprint, *, active: bool, name: str = "alice") -> DtlsAssociation:
    return DtlsAssociation(name, who, (whom,), active=active, call_id="call")


@dataclass
class Path:
    """Alice, who opens, and Bob. `lose(from whom, the how-manieth datagram)` says what does not arrive."""

    lose: Lose = lambda who, number: False
    bob_is: DtlsIdentity = BOB
    alice_expects: Fingerprint = BOB.fingerprint
    bob_expects: Fingerprint = ALICE.fingerprint
    now: float = 0.0
    told: dict[str, list[object]] = field(default_factory=lambda: {"alice": [], "bob": []})
    sent: dict[str, int] = field(default_factory=lambda: {"alice": 0, "bob": 0})
    under_way: list[tuple[float, str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ends = {
            "alice": associate(ALICE, self.alice_expects, active=True),
            "bob": associate(self.bob_is, self.bob_expects, active=False, name="bob"),
        }

    def run(self, until: float = 60.0) -> Path:
        for end in self.ends.values():
            end.begin(self.now)
            end.expect(self.now)
        while True:
            self._collect()
            next_one = earliest(
                *(at for at, _, _ in self.under_way), *(end.poll_timeout() for end in self.ends.values())
            )
            if next_one is None or next_one > until:
                return self
            self.now = max(self.now, next_one)
            due = [one for one in self.under_way if one[0] <= self.now]
            self.under_way = [one for one in self.under_way if one[0] > self.now]
            for _, who, data in due:
                self.ends[who].receive(data, self.now)
            for end in self.ends.values():
                end.handle_timeout(self.now)

    def _collect(self) -> None:
        for who, other in (("alice", "bob"), ("bob", "alice")):
            for output in drain(self.ends[who]):
                if isinstance(output, SendHandshake):
                    assert len(output.data) <= 1200
                    self.sent[who] += 1
                    if not self.lose(who, self.sent[who]):
                        self.under_way.append((self.now + DELAY, other, output.data))
                else:
                    self.told[who].append(output)

    def keys(self, who: str) -> KeysAgreed:
        (keys,) = (one for one in self.told[who] if isinstance(one, KeysAgreed))
        return keys

    def agreed(self) -> bool:
        alice, bob = self.keys("alice"), self.keys("bob")
        return alice.send_key == bob.recv_key and alice.recv_key == bob.send_key != bob.recv_key

    def failure(self, who: str) -> str:
        records = [one.reason for one in self.told[who] if isinstance(one, MediaKeyFailed)]
        assert records == [one.reason for one in self.told[who] if isinstance(one, KeysFailed)]
        return "; ".join(records)


def test_both_get_the_same_keys_within_two_round_trips() -> None:
    path = Path().run()
    assert path.agreed()
    (record,) = (one for one in path.told["alice"] if isinstance(one, MediaKeyed))
    assert (record.role, record.suite, record.repeated) == ("active", "AEAD_AES_128_GCM", 0)
    assert record.duration == pytest.approx(4 * DELAY)
    assert len(path.keys("alice").send_key.key_and_salt) == 28
    assert path.keys("alice").send_key.key_and_salt.hex() not in repr(path.told)


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_one_datagram_may_be_lost(who: str, number: int) -> None:
    path = Path(lose=lambda sender, count: (sender, count) == (who, number)).run()
    assert path.agreed()
    assert path.now < 2.0


@pytest.mark.parametrize("seed", range(25))
def test_a_fifth_of_all_packets_lost(seed: int) -> None:
    chance = random.Random(seed)
    path = Path(lose=lambda *_: chance.random() < 0.2).run()
    assert path.agreed()
    assert path.now < HANDSHAKE_LIMIT


def test_who_spoke_last_says_it_again_but_not_for_ever() -> None:
    """The last flight is Bob's; Alice cannot know that he is done if it never comes (RFC 6347 §4.2.4)."""
    path = Path(lose=lambda who, number: who == "bob" and number > 1).run()
    assert path.keys("bob")
    assert "within 20 s" in path.failure("alice")
    assert path.sent["bob"] <= 30


def test_nobody_answers() -> None:
    path = Path(lose=lambda who, _: who == "alice").run()
    assert path.failure("alice") == "the DTLS handshake did not end within 20 s: nobody answered it"
    assert path.failure("bob") == "the DTLS handshake did not end within 20 s: nobody began it"
    assert path.now == HANDSHAKE_LIMIT
    assert 10 <= path.sent["alice"] <= 16, "it is repeated, ever less often"


def test_while_it_rings_nobody_need_answer() -> None:
    """The limit counts from when both are so: there is a path, and the call is answered."""
    for active in (True, False):
        end = associate(ALICE, BOB.fingerprint, active=active)
        end.begin(0.0)
        while (at := end.poll_timeout()) is not None and at < 120.0:
            end.handle_timeout(at)
        assert not any(isinstance(one, KeysFailed) for one in drain(end))
        end.expect(120.0)
        end.expect(130.0)
        while (at := end.poll_timeout()) is not None:
            end.handle_timeout(at)
        assert any(isinstance(one, KeysFailed) for one in drain(end))
        assert at is None
        early = associate(ALICE, BOB.fingerprint, active=False)
        early.expect(0.0)
        assert early.poll_timeout() is None
        early.begin(7.0)
        assert early.poll_timeout() == 7.0 + HANDSHAKE_LIMIT


def test_no_profile_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path()
    suites = dict(dtls.PROFILES)
    for who, name in zip(path.ends, suites, strict=False):
        monkeypatch.setattr(dtls, "PROFILES", {name: suites[name]})
        path.ends[who] = associate(*_PAIR[who], active=who == "alice", name=who)
    path.run()
    assert "no SRTP profile in common" in path.failure("alice")
    assert "no SRTP profile in common" in path.failure("bob")


def test_what_comes_after_the_end_is_not_kept() -> None:
    path = Path().run()
    bob = path.ends["bob"]
    for _ in range(200):
        bob.receive(records(23, 1, bytes(1000)), path.now)
    bob.receive(records(22, 1, bytes(60)) + records(23, 1, bytes(100)), path.now)
    with pytest.raises(SSL.WantReadError):
        bob._tls.recv(65535)
    assert bob.poll_timeout() is None


def test_a_known_round_trip_shortens_the_first_wait() -> None:
    for round_trip, pause in ((None, FIRST_REPEAT), (0.2, 0.3), (0.001, 0.1), (3.0, FIRST_REPEAT)):
        end = associate(ALICE, BOB.fingerprint, active=True)
        end.begin(5.0, round_trip)
        assert end.poll_timeout() == pytest.approx(5.0 + pause)


def test_who_listens_late_is_asked_again_when_the_path_is_chosen() -> None:
    """Softphones listen when their checks have ended; until then repeats have become rare."""
    end = associate(ALICE, BOB.fingerprint, active=True)
    end.begin(0.0, 0.05)
    while (at := end.poll_timeout()) is not None and at < 3.2:
        end.handle_timeout(at)
    drain(end)
    assert at is not None
    assert at > 4.0
    for now in (3.2, 3.25):
        end.begin(now, 0.08)
        assert end.poll_timeout() == pytest.approx(3.32), "soon, however often it is told"
    due = end.poll_timeout()
    assert due is not None
    end.handle_timeout(due)
    assert any(isinstance(one, SendHandshake) for one in drain(end))
    assert end.poll_timeout() == pytest.approx(3.56)


def test_the_path_is_chosen_in_the_middle_of_a_handshake() -> None:
    """Nobody who is heard is asked again for it."""
    path = Path()
    alice, bob = path.ends["alice"], path.ends["bob"]
    alice.begin(0.0)
    hello = [one.data for one in drain(alice) if isinstance(one, SendHandshake)]
    bob.begin(0.0)
    for data in hello:
        bob.receive(data, 0.1)
    for data in [one.data for one in drain(bob) if isinstance(one, SendHandshake)]:
        alice.receive(data, 0.2)
    due = alice.poll_timeout()
    alice.begin(0.3, 0.05)
    assert alice.poll_timeout() == due


# --- strangers --------------------------------------------------------------------------------------------
def test_another_certificate_than_announced_gets_no_keys() -> None:
    path = Path(bob_is=MALLORY).run()
    assert "not the one whose fingerprint it announced" in path.failure("alice")
    assert "does not take our certificate" in path.failure("bob")
    assert not any(isinstance(one, KeysAgreed) for told in path.told.values() for one in told)


def test_the_side_that_is_opened_checks_as_well() -> None:
    path = Path(bob_expects=MALLORY.fingerprint).run()
    assert "not the one whose fingerprint it announced" in path.failure("bob")
    assert not any(isinstance(one, KeysAgreed) for one in path.told["bob"])


def test_a_hash_that_can_be_forged_proves_nothing() -> None:
    path = Path(alice_expects=Fingerprint("sha-1", bytes(20))).run()
    assert "fingerprint" in path.failure("alice")


# --- garbage ----------------------------------------------------------------------------------------------
def test_an_alert_in_the_middle_ends_the_handshake_with_its_reason() -> None:
    path = Path()
    bob = path.ends["bob"]
    alert = bytes.fromhex("15fefd000000000000000700020228")  # fatal, handshake failure
    hello = _hello(path)
    for data in (*hello, alert):
        bob.receive(data, 0.1)
    failures = [one.reason for one in drain(bob) if isinstance(one, KeysFailed)]
    assert len(failures) == 1
    assert "alert" in failures[0]
    assert bob.poll_timeout() is None
    bob.receive(hello[0], 0.2)
    assert drain(bob) == [], "that was the last word"


def test_a_flood_of_hellos_is_answered_within_bounds_and_the_handshake_still_ends() -> None:
    """Whoever can send on the path repeats the hello a thousand times, before and after there are keys."""
    path = Path()
    hello = _hello(path)
    bob = path.ends["bob"]
    answered = 0
    for number in range(1000):
        for data in hello:
            bob.receive(data, number * 1e-4)
        outputs = drain(bob)
        answered += sum(isinstance(one, SendHandshake) for one in outputs)
        path.under_way += [(0.5, "alice", one.data) for one in outputs if isinstance(one, SendHandshake)]
    assert answered < 20, "one flight, not one for each"
    path.now = 0.2
    assert path.run().agreed()
    sent = path.sent["bob"]
    for _ in range(1000):
        for data in hello:
            bob.receive(data, path.now)
    assert sum(isinstance(one, SendHandshake) for one in drain(bob)) <= dtls.MAX_LAST_WORDS * sent


def _hello(path: Path) -> list[bytes]:
    """Alice's first flight."""
    path.ends["alice"].begin(0.0)
    return [one.data for one in drain(path.ends["alice"]) if isinstance(one, SendHandshake)]


def test_garbage_in_the_middle_of_a_handshake_is_told_and_forgotten() -> None:
    path = Path()
    alice = path.ends["alice"]
    alice.begin(0.0)
    for number in range(50):
        alice.receive(bytes([20 + number % 44]) * (number + 1), 0.0)
    told = [one for one in drain(alice) if not isinstance(one, SendHandshake) and isinstance(one, Malformed)]
    assert 0 < len(told) <= 8
    alice.handle_timeout(FIRST_REPEAT)  # its hello is lost with what was drained; it says it again
    assert path.run().agreed()


def test_after_the_end_nothing_comes_out() -> None:
    end = associate(ALICE, BOB.fingerprint, active=True)
    end.begin(0.0)
    drain(end)
    end.close(0.1)
    end.receive(b"\x16\xfe\xfd" + bytes(10), 0.2)
    end.begin(0.3)
    assert end.poll_timeout() is None
    assert not drain(end)


def records(content_type: int, epoch: int, body: bytes) -> bytes:
    return bytes([content_type, 0xFE, 0xFD]) + epoch.to_bytes(2) + bytes(6) + len(body).to_bytes(2) + body


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(lambda first, rest: bytes([first]) + rest, st.integers(20, 63), st.binary(max_size=80)),
            st.builds(records, st.integers(20, 24), st.integers(0, 2), st.binary(max_size=80)),
        ),
        max_size=6,
    ),
    st.booleans(),
    st.integers(0, 3),
)
@example([records(22, 0, b"\x01" + bytes(40))], False, 0)
@example([records(21, 0, b"\x02\x28")], True, 1)
def test_no_bytes_crash_an_association(hostile: list[bytes], active: bool, after: int) -> None:
    """At any point of a handshake; then there are keys, or a reason, or time goes on."""
    path = Path(lose=lambda who, number: number > after)
    path.run(until=0.2)
    end = path.ends["alice" if active else "bob"]
    for data in hostile:
        end.receive(data, 0.3)
        drain(end)
    while (at := end.poll_timeout()) is not None:
        end.handle_timeout(at)
        drain(end)
