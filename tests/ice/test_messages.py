"""Checks as bytes, and what makes one authentic."""

from __future__ import annotations

import random

import pytest

from iceway.core.address import Address
from iceway.ice import messages
from iceway.ice.messages import Credentials, Refusal
from iceway.wire import stun
from iceway.wire.stun_attributes import attribute_of

OURS, THEIRS = Credentials("our", "our-password-of-22-chars"), Credentials("their", "their-password-22-chars")
SOURCE = Address("192.0.2.7", 4000)


def check(**changed: object) -> stun.StunMessage:
    """A check that the peer sends us."""
    given = {"priority": 7, "controlling": True, "tie_breaker": 99} | changed
    return stun.parse(messages.check_request(bytes(12), THEIRS, OURS, **given))


def test_a_check_carries_what_rfc_8445_7_1_demands() -> None:
    request = check()
    assert request.get(stun.USERNAME) == b"our:their"
    assert request.get(stun.PRIORITY) == 7
    assert request.get(stun.ICE_CONTROLLING) == 99
    assert request.get(stun.USE_CANDIDATE) is None
    assert request.has_fingerprint
    assert check(controlling=False).get(stun.ICE_CONTROLLED) == 99
    assert check(nominate=True).get(stun.USE_CANDIDATE) is True


def test_it_is_signed_with_the_receivers_password() -> None:
    assert messages.authenticate(check(), OURS) is None
    assert messages.authenticate(check(), THEIRS) == Refusal(401, "Unauthenticated")


def test_a_check_without_signature_or_name_is_a_bad_request() -> None:
    plain = stun.StunMessage(1, stun.MessageClass.REQUEST, bytes(12), (stun.USERNAME(b"our:their"),))
    assert messages.authenticate(stun.parse(stun.serialize(plain)), OURS) == Refusal(400, "Bad Request")
    nameless = stun.StunMessage(1, stun.MessageClass.REQUEST, bytes(12))
    data = stun.serialize(nameless, stun.short_term_key(OURS.pwd))
    assert messages.authenticate(stun.parse(data), OURS) == Refusal(400, "Bad Request")
    assert messages.user_fragments(nameless) is None


def test_what_we_must_understand_and_do_not_is_named() -> None:
    strange = stun.StunMessage(
        1,
        stun.MessageClass.REQUEST,
        bytes(12),
        (stun.USERNAME(b"our:their"), (attribute_of(0x7777), b"")),
    )
    request = stun.parse(stun.serialize(strange, stun.short_term_key(OURS.pwd)))
    refusal = messages.authenticate(request, OURS)
    assert refusal == Refusal(420, "Unknown Attribute")
    answer = stun.parse(messages.check_error(request, refusal, OURS))
    assert answer.get(stun.UNKNOWN_ATTRIBUTES) == (0x7777,)
    assert stun.verify_integrity(answer, stun.short_term_key(OURS.pwd))


def test_the_answer_tells_where_the_check_came_from_and_is_signed_with_our_password() -> None:
    answer = stun.parse(messages.check_success(check(), OURS, SOURCE))
    assert answer.get(stun.XOR_MAPPED_ADDRESS) == SOURCE
    assert stun.verify_integrity(answer, stun.short_term_key(OURS.pwd))


def test_an_unauthentic_check_gets_an_unsigned_refusal() -> None:
    answer = stun.parse(messages.check_error(check(), Refusal(401, "Unauthenticated"), None))
    assert answer.get(stun.ERROR_CODE) == stun.ErrorCode(401, "Unauthenticated")
    assert not answer.has_integrity


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        (b"a:b", ("a", "b")),
        (b"a:b:c", ("a", "b:c")),
        (b"ab", None),
        (b":", ("", "")),
        (b"\xff:b", ("\ufffd", "b")),
    ],
)
def test_user_names_of_all_shapes(name: bytes, fragments: tuple[str, str] | None) -> None:
    message = stun.StunMessage(1, stun.MessageClass.REQUEST, bytes(12), (stun.USERNAME(name),))
    assert messages.user_fragments(message) == fragments


def test_credentials_are_long_enough_and_fit_sdp() -> None:
    # RFC 8445 §5.3: 24 and 128 bits; RFC 8839 §5.4: 4 to 256 and 22 to 256 ice-chars.
    drawn = Credentials.drawn(random.Random(3))
    assert len(drawn.ufrag) == 8
    assert len(drawn.pwd) == 24
    assert all(char.isascii() and (char.isalnum() or char in "+/") for char in drawn.ufrag + drawn.pwd)
    assert Credentials.drawn(random.Random(3)) == drawn
    assert Credentials.drawn(random.Random(4)) != drawn


def test_keepalives_want_no_answer() -> None:
    message = stun.parse(messages.keepalive_indication(bytes(12)))
    assert message.message_class is stun.MessageClass.INDICATION
    assert not message.has_integrity
