"""STUN messages: the vectors of RFC 5769, round trips, and what a parser must refuse."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.errors import ParseError, UsageError
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method, StunMessage
from iceway.wire.stun_attributes import KNOWN

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "rfc5769.json").read_text())
TRANSACTION = bytes(range(12))


def vector(section: str) -> tuple[StunMessage, dict[str, str]]:
    (name,) = (name for name in VECTORS if name.startswith(section))
    return stun.parse(bytes.fromhex(VECTORS[name]["hex"])), VECTORS[name]


def binding(*attributes: tuple[stun.Attribute[object], object]) -> StunMessage:
    return StunMessage(Method.BINDING, MessageClass.REQUEST, TRANSACTION, attributes)


# --- RFC 5769 -------------------------------------------------------------------------------------------
def test_sample_request_of_rfc_5769_2_1() -> None:
    message, given_ = vector("2.1")
    assert message == StunMessage(
        Method.BINDING,
        MessageClass.REQUEST,
        bytes.fromhex("b7e7a701bc34d686fa87dfae"),
        (
            stun.SOFTWARE("STUN test client"),
            stun.PRIORITY(0x6E0001FF),
            stun.ICE_CONTROLLED(0x932FF9B151263B36),
            stun.USERNAME(b"evtj:h6vY"),
        ),
    )
    assert message.has_fingerprint
    assert stun.verify_integrity(message, stun.short_term_key(given_["password"]))
    assert not stun.verify_integrity(message, stun.short_term_key("something else"))


@pytest.mark.parametrize(
    ("section", "ip"), [("2.2", "192.0.2.1"), ("2.3", "2001:db8:1234:5678:11:2233:4455:6677")]
)
def test_sample_responses_of_rfc_5769_2_2_and_2_3(section: str, ip: str) -> None:
    message, given_ = vector(section)
    assert message.message_class is MessageClass.SUCCESS
    assert message.get(stun.SOFTWARE) == "test vector"
    assert message.get(stun.XOR_MAPPED_ADDRESS) == Address(ip, 32853)
    assert message.has_fingerprint
    assert stun.verify_integrity(message, stun.short_term_key(given_["password"]))


def test_sample_request_of_rfc_5769_2_4_comes_out_byte_for_byte() -> None:
    message, given_ = vector("2.4")
    assert message.get(stun.USERNAME) == given_["username"].encode()
    assert message.get(stun.NONCE) == b"f//499k954d6OL34oL9FSTvy64sA"
    key = stun.long_term_key(given_["username"], given_["realm"], given_["password"])
    assert stun.verify_integrity(message, key)
    assert stun.serialize(message, key).hex() == given_["hex"]


@pytest.mark.parametrize("section", ["2.1", "2.2", "2.3", "2.4"])
def test_any_changed_bit_of_a_vector_is_noticed(section: str) -> None:
    message, given_ = vector(section)
    if "realm" in given_:
        key = stun.long_term_key(given_["username"], given_["realm"], given_["password"])
    else:
        key = stun.short_term_key(given_["password"])
    assert message.integrity_at is not None
    for at in range(20, message.integrity_at + 24):
        changed = bytearray(message.raw)
        changed[at] ^= 1
        with contextlib.suppress(ParseError):
            assert not stun.verify_integrity(stun.parse(bytes(changed)), key)


# --- integrity ------------------------------------------------------------------------------------------
def test_what_follows_integrity_is_ignored() -> None:
    """RFC 8489 §14.5: an attacker may append, but nobody listens."""
    plain = stun.serialize(binding(stun.PRIORITY(1)), b"key")
    smuggled = plain[:2] + (len(plain) - 20 + 4).to_bytes(2, "big") + plain[4:] + b"\x00\x25\x00\x00"
    message = stun.parse(smuggled)
    assert message.get(stun.USE_CANDIDATE) is None
    assert stun.verify_integrity(message, b"key")


def test_sha256_integrity_decides_when_it_is_there() -> None:
    data = stun.serialize(binding(stun.USERNAME(b"u")), b"key", sha256=True, fingerprint=True)
    message = stun.parse(data)
    assert message.integrity_sha256_at is not None
    assert message.has_fingerprint
    assert stun.verify_integrity(message, b"key")
    assert not stun.verify_integrity(message, b"yek")


def test_a_message_without_integrity_never_verifies() -> None:
    message = stun.parse(stun.serialize(binding()))
    assert not message.has_integrity
    assert not stun.verify_integrity(message, b"")


def test_long_term_key_takes_bytes_as_they_are_and_normalises_text() -> None:
    assert stun.long_term_key(b"\xff\x00", "r", b"\x22") != stun.long_term_key(b"\xff", "r", b"\x22")
    assert stun.long_term_key("A\u030a", "r", "a\u00a0b") == stun.long_term_key("\u00c5", "r", "a b")
    assert len(stun.long_term_key("u", "r", "p")) == 16
    assert len(stun.long_term_key("u", "r", "p", sha256=True)) == 32


# --- shape ----------------------------------------------------------------------------------------------
def test_every_defined_attribute_survives_the_wire() -> None:
    v4, v6 = Address("192.0.2.7", 3478), Address("2001:db8::7", 49152)
    message = binding(
        stun.MAPPED_ADDRESS(v4),
        stun.XOR_MAPPED_ADDRESS(v6),
        stun.XOR_PEER_ADDRESS(v4),
        stun.XOR_PEER_ADDRESS(v6),
        stun.XOR_RELAYED_ADDRESS(v4),
        stun.ALTERNATE_SERVER(v6),
        stun.RESPONSE_ORIGIN(v4),
        stun.OTHER_ADDRESS(v4),
        stun.USERNAME(b"\xff\x00odd"),
        stun.ERROR_CODE(stun.ErrorCode(438, "Stale Nonce")),
        stun.UNKNOWN_ATTRIBUTES((0x7FFF, 0x0042)),
        stun.REALM("exämple"),
        stun.NONCE(b"n" * 40),
        stun.SOFTWARE("iceway"),
        stun.CHANNEL_NUMBER(0x4001),
        stun.LIFETIME(600),
        stun.DATA(b"payload"),
        stun.REQUESTED_ADDRESS_FAMILY(stun.FAMILY_IPV6),
        stun.ADDITIONAL_ADDRESS_FAMILY(stun.FAMILY_IPV6),
        stun.EVEN_PORT(True),
        stun.EVEN_PORT(False),
        stun.REQUESTED_TRANSPORT(stun.UDP_PROTOCOL),
        stun.DONT_FRAGMENT(True),
        stun.RESERVATION_TOKEN(b"12345678"),
        stun.PRIORITY(2**32 - 1),
        stun.USE_CANDIDATE(True),
        stun.ICE_CONTROLLED(2**64 - 1),
        stun.ICE_CONTROLLING(1),
        stun.PASSWORD_ALGORITHM(stun.PasswordAlgorithm(2)),
        stun.PASSWORD_ALGORITHMS((stun.PasswordAlgorithm(1, b"abc"), stun.PasswordAlgorithm(2))),
        stun.USERHASH(bytes(32)),
        stun.ALTERNATE_DOMAIN("example.org"),
        stun.CHANGE_REQUEST(6),
    )
    parsed = stun.parse(stun.serialize(message, b"key", fingerprint=True))
    assert parsed == message
    assert parsed.all(stun.XOR_PEER_ADDRESS) == (v4, v6)
    assert parsed.unknown_required == ()


def test_unknown_attributes_are_kept_and_the_required_ones_are_listed() -> None:
    data = (
        bytes.fromhex("0001 0010 2112a442")
        + TRANSACTION
        + bytes.fromhex("7f01 0002 abcd 0000 ff01 0001 09000000")
    )
    message = stun.parse(data)
    assert message.unknown_required == (0x7F01,)
    assert [(attribute.name, value) for attribute, value in message.attributes] == [
        ("0x7F01", b"\xab\xcd"),
        ("0xFF01", b"\x09"),
    ]
    assert stun.serialize(message) == data


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("message_class", list(MessageClass))
def test_method_and_class_are_interleaved_as_rfc_8489_figure_3_says(
    method: Method, message_class: MessageClass
) -> None:
    data = stun.serialize(StunMessage(method, message_class, TRANSACTION))
    parsed = stun.parse(data)
    assert (parsed.method, parsed.message_class) == (method, message_class)
    assert parsed.method_name.replace("Bind", "").isalpha()


def test_the_types_on_the_wire_are_those_everybody_uses() -> None:
    def type_of(method: Method, message_class: MessageClass) -> int:
        return int.from_bytes(stun.serialize(StunMessage(method, message_class, TRANSACTION))[:2], "big")

    assert type_of(Method.ALLOCATE, MessageClass.REQUEST) == 0x0003
    assert type_of(Method.ALLOCATE, MessageClass.ERROR) == 0x0113
    assert type_of(Method.SEND, MessageClass.INDICATION) == 0x0016
    assert type_of(Method.CHANNEL_BIND, MessageClass.SUCCESS) == 0x0109


@pytest.mark.parametrize(
    ("hex_", "why"),
    [
        ("", "cookie"),
        ("000100002112a44200", "cookie"),
        ("000100002112a443" + "00" * 12, "cookie"),
        ("400100002112a442" + "00" * 12, "first byte"),
        ("000100042112a442" + "00" * 12, "counts 4"),
        ("000100012112a442" + "00" * 13, "multiple of 4"),
        ("000100042112a442" + "00" * 12 + "00060008", "past the end"),
        ("000100082112a442" + "00" * 12 + "0024000200010000", "PRIORITY: 2 bytes"),
        ("000100082112a442" + "00" * 12 + "0020000400010000", "XOR-MAPPED-ADDRESS"),
        ("0001000c2112a442" + "00" * 12 + "002000080003111100000000", "family 3"),
        ("000100082112a442" + "00" * 12 + "0009000400000700", "error code 7"),
        ("000100082112a442" + "00" * 12 + "001400 02ffff0000", "not UTF-8"),
        ("000100082112a442" + "00" * 12 + "0025000401020304", "flag"),
        ("000100082112a442" + "00" * 12 + "802800 0401020304", "FINGERPRINT does not match"),
        ("000100082112a442" + "00" * 12 + "0008000401020304", "4 bytes where 20"),
        ("000100082112a442" + "00" * 12 + "001c000401020304", "SHA256 in 4 bytes"),
        ("000101042112a442" + "00" * 12 + "80ff0000" * 65, "more than 64"),
        ("000102082112a442" + "00" * 12 + "00060202" + "61" * 514 + "0000", "at most 513"),
    ],
)
def test_malformed_messages_are_refused_with_the_reason(hex_: str, why: str) -> None:
    with pytest.raises(ParseError, match=why):
        stun.parse(bytes.fromhex(hex_))


def test_fingerprint_must_be_last() -> None:
    data = stun.serialize(binding(), fingerprint=True)
    longer = bytearray(data + b"\x80\x22\x00\x00")
    longer[3] += 4
    longer[-8:-4] = (stun._fingerprint(bytes(longer[:20]))).to_bytes(4, "big")
    with pytest.raises(ParseError, match="follows FINGERPRINT"):
        stun.parse(bytes(longer))


def test_words_for_people_are_cut_so_that_they_can_be_written_again() -> None:
    """Each byte that is no UTF-8 becomes U+FFFD, three bytes long; RFC 8489 §14.8 and §14.14 allow 763."""
    odd = b"\xff" * 763
    message = stun.parse(
        bytes.fromhex("0111 0604 2112a442")
        + TRANSACTION
        + (bytes.fromhex("0009 02ff 00000400") + odd + b"\0")
        + (bytes.fromhex("8022 02fb") + odd + b"\0")
    )
    assert message.get(stun.SOFTWARE) == "\ufffd" * 254
    assert message.get(stun.ERROR_CODE) == stun.ErrorCode(400, "\ufffd" * 254)
    assert stun.parse(stun.serialize(message)) == message


def test_voice_is_not_taken_for_stun() -> None:
    """RFC 7983: a byte below 4 is not enough; G.711 silence may look like that behind a broken header."""
    assert not stun.is_stun(b"\x00\x01" + bytes(40))
    assert not stun.is_stun(b"\x80\x08" + bytes(40))
    assert stun.is_stun(stun.serialize(binding()))


def test_too_large_a_message_is_the_callers_fault() -> None:
    with pytest.raises(UsageError):
        stun.serialize(binding(stun.DATA(bytes(65500))))
    with pytest.raises(UsageError):
        stun.serialize(binding(stun.XOR_PEER_ADDRESS(Address("host.example", 1))))


def test_describe_shows_what_people_need_and_no_secret() -> None:
    message = stun.parse(
        stun.serialize(
            binding(
                stun.USERNAME(b"alice\xff"),
                stun.NONCE(b"0123456789abcdef0123"),
                stun.DATA(bytes(160)),
                stun.CHANNEL_NUMBER(0x4000),
                stun.LIFETIME(600),
                stun.REQUESTED_TRANSPORT(17),
                stun.ERROR_CODE(stun.ErrorCode(401, "Unauthorized")),
                stun.UNKNOWN_ATTRIBUTES((0x0006, 0x7001)),
            ),
            b"key",
            fingerprint=True,
        )
    )
    assert stun.describe(message) == (
        ("USERNAME", "alice\\xff"),
        ("NONCE", "0123456789ab…"),
        ("DATA", "160 bytes"),
        ("CHANNEL-NUMBER", "0x4000"),
        ("LIFETIME", "600 s"),
        ("REQUESTED-TRANSPORT", "UDP"),
        ("ERROR-CODE", "401 Unauthorized"),
        ("UNKNOWN-ATTRIBUTES", "USERNAME, 0x7001"),
        ("MESSAGE-INTEGRITY", "present"),
        ("FINGERPRINT", "present"),
    )


# --- any bytes ------------------------------------------------------------------------------------------
def _tail(data: bytes) -> bytes:
    """Random bytes behind a valid header, so that the attributes are reached."""
    size = len(data) - len(data) % 4
    return b"\x00\x01" + size.to_bytes(2, "big") + b"\x21\x12\xa4\x42" + TRANSACTION + data[:size]


_attribute_bytes = st.tuples(
    st.sampled_from(sorted(KNOWN)) | st.integers(0, 0xFFFF), st.binary(max_size=40)
).map(
    lambda pair: (
        pair[0].to_bytes(2, "big") + len(pair[1]).to_bytes(2, "big") + pair[1] + bytes(-len(pair[1]) % 4)
    )
)


@given(
    st.binary(max_size=200)
    | st.binary(max_size=120).map(_tail)
    | st.lists(_attribute_bytes).map(lambda p: _tail(b"".join(p)))
)
@settings(max_examples=200)
@example(b"")
def test_the_parser_raises_nothing_but_its_own_error(data: bytes) -> None:
    try:
        message = stun.parse(data)
    except ParseError:
        return
    stun.describe(message)
    stun.verify_integrity(message, b"key")


_addresses = st.builds(
    Address,
    st.ip_addresses().map(str),
    st.integers(0, 65535),
)
_pairs = st.one_of(
    st.sampled_from([stun.XOR_MAPPED_ADDRESS, stun.XOR_PEER_ADDRESS, stun.MAPPED_ADDRESS]).flatmap(
        lambda attribute: _addresses.map(attribute)
    ),
    st.binary(max_size=513).map(stun.USERNAME),
    st.binary(max_size=1500).map(stun.DATA),
    st.integers(0, 2**32 - 1).map(stun.LIFETIME),
    st.text(max_size=100).map(stun.REALM),
    st.builds(stun.ErrorCode, st.integers(300, 699), st.text(max_size=40)).map(stun.ERROR_CODE),
)


@given(
    st.integers(0, 0xFF),  # RFC 8489 §18.1: what lies above would collide on shared sockets
    st.sampled_from(MessageClass),
    st.binary(min_size=12, max_size=12),
    st.lists(_pairs, max_size=6),
    st.none() | st.binary(min_size=1, max_size=40),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=150)
def test_what_is_written_is_read(
    method: int,
    message_class: MessageClass,
    transaction_id: bytes,
    attributes: list[tuple[stun.Attribute[object], object]],
    key: bytes | None,
    sha256: bool,
    fingerprint: bool,
) -> None:
    message = StunMessage(method, message_class, transaction_id, tuple(attributes))
    parsed = stun.parse(stun.serialize(message, key, sha256=sha256, fingerprint=fingerprint))
    assert parsed == message
    assert parsed.has_fingerprint is fingerprint
    assert parsed.has_integrity is (key is not None)
    assert key is None or stun.verify_integrity(parsed, key)
