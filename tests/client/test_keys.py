"""Keys of one call: from SDP at once, by DTLS later; forks, early hellos, what changes nothing."""

from __future__ import annotations

from dataclasses import replace

from iceway.client.keys import MAX_EARLY, MAX_ENDS, CallKeys
from iceway.core.address import Address
from iceway.core.machine import drain
from iceway.io.selfsigned import media_identity
from iceway.media.description import Negotiated
from iceway.media.dtls import DtlsAssociation, DtlsIdentity, KeysAgreed, SendHandshake
from iceway.media.formats import CODECS
from iceway.media.keying import DtlsTerms
from iceway.media.srtp import SrtpKey

US, FIRST, SECOND = media_identity(), media_identity(), media_identity()
CODEC = CODECS["PCMU"]
THERE, ELSEWHERE = Address("192.0.2.2", 5000), Address("192.0.2.3", 5000)
KEY = SrtpKey("AES_CM_128_HMAC_SHA1_80", bytes(30))
BY_SDES = Negotiated(CODEC, (CODEC,), KEY, KEY, None, None)


def by_dtls(who: DtlsIdentity, *, active: bool = False) -> Negotiated:
    terms = DtlsTerms((who.fingerprint,), active)
    return Negotiated(CODEC, (CODEC,), None, None, None, None, dtls=terms)


def answered_by(who: DtlsIdentity) -> DtlsAssociation:
    """The other end, which opens."""
    end = DtlsAssociation("them", who, (US.fingerprint,), active=True)
    end.begin(0.0)
    return end


def shake(keys: CallKeys, end: DtlsAssociation) -> KeysAgreed:
    """Until nothing is left to say; what the other end got."""
    found = []
    for _ in range(10):
        for output in drain(end):
            if isinstance(output, SendHandshake):
                keys.receive(output.data, THERE, 0.1)
            elif isinstance(output, KeysAgreed):
                found.append(output)
        while (output := keys.poll_output()) is not None:
            if isinstance(output, SendHandshake):
                end.receive(output.data, 0.1)
    (agreed,) = found
    return agreed


def test_keys_of_sdp_are_there_at_once() -> None:
    assert CallKeys("dtls", US).keyed(BY_SDES, "call") is BY_SDES
    assert CallKeys("dtls", None).keyed(BY_SDES, "call") is BY_SDES


def test_keys_by_dtls_are_there_after_the_handshake_and_stay() -> None:
    keys = CallKeys("dtls", US)
    assert keys.keyed(by_dtls(FIRST), "call") is None
    keys.path_found(THERE, None, 0.0)
    theirs = shake(keys, answered_by(FIRST))
    keyed = keys.keyed(by_dtls(FIRST), "call")
    assert keyed is not None
    assert (keyed.send_key, keyed.recv_key) == (theirs.recv_key, theirs.send_key)
    # A re-INVITE, a restart, another path: nothing is said again.
    keys.path_found(THERE, 0.02, 1.0)
    assert keys.keyed(replace(by_dtls(FIRST), direction="recvonly"), "call") == replace(
        keyed, direction="recvonly"
    )
    assert drain(keys) == []  # type: ignore[arg-type]


def test_another_role_of_the_same_certificate_means_nothing_once_there_are_keys() -> None:
    keys = CallKeys("dtls", US)
    assert keys.keyed(by_dtls(FIRST, active=True), "call") is None
    assert keys.keyed(by_dtls(FIRST), "call") is None
    keys.path_found(THERE, None, 0.0)
    shake(keys, answered_by(FIRST))
    assert keys.keyed(by_dtls(FIRST, active=True), "call")
    assert keys.keyed(by_dtls(SECOND, active=True), "call") is None


def test_each_end_of_a_fork_has_keys_of_its_own_and_keeps_them() -> None:
    keys = CallKeys("dtls", US)
    got = []
    for who, name in ((FIRST, "first"), (SECOND, "second"), (FIRST, "first, on another desk")):
        keys.talk_to(name)
        assert keys.keyed(by_dtls(who), "call") is None
        keys.path_found(THERE, None, 0.0)
        got.append(shake(keys, answered_by(who)))
    assert len({one.send_key for one in got}) == 3
    for theirs, who, name in zip(got, (FIRST, SECOND), ("first", "second"), strict=False):
        keys.talk_to(name)
        keyed = keys.keyed(by_dtls(who), "call")
        assert keyed is not None
        assert keyed.recv_key == theirs.send_key
    assert drain(keys) == []  # type: ignore[arg-type]


def test_a_handshake_goes_on_where_it_was_when_its_end_is_talked_to_again() -> None:
    keys, end = CallKeys("dtls", US), answered_by(FIRST)
    keys.talk_to("first")
    keys.keyed(by_dtls(FIRST), "call")
    keys.path_found(THERE, None, 0.0)
    for output in drain(end):
        assert isinstance(output, SendHandshake)
        keys.receive(output.data, THERE, 0.0)
    answers = drain(keys)  # type: ignore[arg-type]
    assert keys.poll_timeout() is not None
    keys.talk_to("second")
    assert keys.keyed(by_dtls(SECOND), "call") is None
    assert keys.poll_timeout() is None, "nothing of the first is said to the second"
    keys.talk_to("first")
    keys.keyed(by_dtls(FIRST), "call")
    keys.path_found(THERE, None, 0.1)
    for output in answers:
        assert isinstance(output, SendHandshake)
        end.receive(output.data, 0.1)
    assert shake(keys, end)


def test_of_several_ends_only_the_one_at_the_end_of_the_path_is_listened_to() -> None:
    """Another one's hello in its place would spoil both handshakes."""
    keys = CallKeys("dtls", US)
    keys.talk_to("first")
    keys.keyed(by_dtls(FIRST), "call")
    keys.talk_to("second")
    keys.keyed(by_dtls(SECOND), "call")
    for path in (None, THERE):
        if path is not None:
            keys.path_found(path, None, 0.0)
        for output in drain(answered_by(FIRST)):
            assert isinstance(output, SendHandshake)
            keys.receive(output.data, ELSEWHERE, 0.0)
    assert shake(keys, answered_by(SECOND))


def test_ends_are_kept_within_bounds() -> None:
    keys = CallKeys("dtls", US)
    for number in range(3 * MAX_ENDS):
        keys.talk_to(f"end {number}")
        keys.keyed(by_dtls(FIRST), "call")
    assert len(keys._ends) == MAX_ENDS


def test_a_hello_before_the_answer_waits_for_it() -> None:
    keys, end = CallKeys("dtls", US), answered_by(FIRST)
    for output in drain(answered_by(SECOND)):
        assert isinstance(output, SendHandshake)
        keys.receive(output.data, ELSEWHERE, 0.0)
    for output in drain(end):
        assert isinstance(output, SendHandshake)
        keys.receive(output.data, THERE, 0.0)
    assert drain(keys) == []  # type: ignore[arg-type]
    keys.keyed(by_dtls(FIRST), "call")
    keys.path_found(THERE, None, 0.1)
    assert shake(keys, end)


def test_what_comes_early_is_kept_within_bounds_and_for_nobody_who_has_no_certificate() -> None:
    keys, deaf = CallKeys("dtls", US), CallKeys("dtls", None)
    for _ in range(100):
        keys.receive(b"\x16" * 1200, THERE, 0.0)
        keys.receive(b"\x16" * 60_000, THERE, 0.0)
        deaf.receive(b"\x16" * 1200, THERE, 0.0)
    assert [len(data) for _, data in keys._early] == [1200] * MAX_EARLY
    assert not deaf._early
