"""What a trace must not give away, and that hiding it breaks nothing else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.trace.redact import HIDDEN, redact_sip

INVITE = "\r\n".join(
    (
        "INVITE sip:bob@example.test SIP/2.0",
        "Via: SIP/2.0/TLS 192.168.1.20:50312;branch=z9hG4bK1",
        'Proxy-Authorization: Digest username="alice", realm="example.test", nonce="n0nce",',
        ' uri="sip:bob@example.test", response="5e3c9a", cnonce=c1ient , qop=auth, nc=00000001',
        "Call-ID: 77@192.168.1.20",
        "CSeq: 2 INVITE",
        "Content-Type: application/sdp",
        "Content-Length: 321",
        "",
        "v=0",
        "m=audio 50000 RTP/SAVP 111",
        "a=ice-ufrag:8hhY",
        "a=ice-pwd:asd88fgpdd777uzjYhagZg",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4",
        "a=candidate:1 1 UDP 2130706431 192.168.1.20 50000 typ host",
        "",
    )
)

MRAS = (
    '<?xml version="1.0"?><response><credentials>\n'
    "  <username>AQAAIKCkQAAB3Hr0VruS4j</username>\n  <password>Ra4oxrrDIOPaMlHNSqByg4YIB/w=</password>\n"
    "  <duration>480</duration></credentials></response>"
)


def test_keys_and_proofs_of_an_invite_are_hidden_and_nothing_else() -> None:
    seen = redact_sip(INVITE)
    for secret in ("asd88", "WVNfX19", "5e3c9a", "c1ient"):
        assert secret not in seen
    kept, original = seen.split("\r\n"), INVITE.split("\r\n")
    assert len(kept) == len(original)
    assert (
        kept[3]
        == f' uri="sip:bob@example.test", response="{HIDDEN}", cnonce="{HIDDEN}" , qop=auth, nc=00000001'
    )
    assert kept[12] == f"a=ice-pwd:{HIDDEN}"
    assert kept[13] == f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{HIDDEN}|2^20|1:4"
    changed = {number for number, line in enumerate(original) if line != kept[number]}
    assert changed == {3, 12, 13}


def test_relay_password_is_hidden_and_the_user_name_shortened() -> None:
    seen = redact_sip(MRAS)
    assert f"<username>AQAAIKCk{HIDDEN}</username>" in seen
    assert f"<password>{HIDDEN}</password>" in seen
    assert "<duration>480</duration>" in seen


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("<m:password xml:space='preserve'><![CDATA[s3cret]]></m:password>", "s3cret"),
        ("<PASSWORD>s3cret", "s3cret"),
        ("<password>a<!-- -->s3cret</password>", "s3cret"),
        ("Contact: <sip:alice:s3cret@192.0.2.1>", "s3cret"),
        ("Contact: <sip:alice@192.0.2.1;password=s3cret;lr>", "s3cret"),
        ("Authorization: Basic YWxpY2U6czNjcmV0", "YWxpY2U6"),
        ("AUTHORIZATION : Digest response = s3cret", "s3cret"),
        ('authorization: NTLM qop="auth", crand="0a1b", gssapi-data="TlRMs3cret"', "s3cret"),
        ('Authentication-Info: rspauth="s3cret", qop=auth', "s3cret"),
        ('Authorization: Digest response="s3cret without an end', "s3cret"),
        ("v=0\nk=base64:s3cret\n", "s3cret"),
        ("a=key-mgmt:mikey AQAFgM0Xs3cret", "s3cret"),
        ("A=ICE-PWD:s3cret", "s3cret"),
    ],
)
def test_other_hiding_places(text: str, secret: str) -> None:
    assert secret not in redact_sip(text)


@pytest.mark.parametrize(
    "text",
    [
        "Contact: <sip:alice@192.0.2.1:5061;transport=tls>",
        "Record-Route: <sip:198.51.100.2:443;transport=tls;lr>",
        'WWW-Authenticate: Digest realm="example.test", nonce="abc", algorithm=SHA-256',
        "<username>alice</username>",
        "Subject: response=42",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_sip(text) == text


FRAGMENTS = st.sampled_from(
    [
        "Authorization:",
        "response=",
        '"',
        "\\",
        "<password>",
        "</",
        "<username>",
        "sip:",
        "a:",
        "@",
        "inline:",
        "\n ",
    ]
)


@given(st.lists(FRAGMENTS | st.text(max_size=12), max_size=30).map("".join))
def test_no_text_raises(text: str) -> None:
    redact_sip(redact_sip(text))


@given(
    st.lists(FRAGMENTS | st.text(max_size=12), max_size=10).map("".join),
    st.sampled_from(
        ["\r\na=ice-pwd:{}\r\n", "<password>{}</password>", "\r\nAuthorization: Digest response={}\r\n"]
    ),
)
def test_a_secret_is_found_behind_any_garbage(garbage: str, place: str) -> None:
    assert "s3cr3tk3y" not in redact_sip(garbage + place.format("s3cr3tk3y"))


def test_hiding_twice_is_hiding_once() -> None:
    for text in (INVITE, MRAS):
        assert redact_sip(redact_sip(text)) == redact_sip(text)


@pytest.mark.parametrize(
    "piece",
    [
        "sip:a:",
        "<password>",
        "Authorization:",
        'response="',
        "<username><![CDATA[",
        "\n \n",
        "a=key-mgmt:a ",
        "<a:",
    ],
)
def test_long_hostile_text_takes_no_long_time(piece: str) -> None:
    started = time.process_time()
    redact_sip(piece * (200_000 // len(piece)))
    redact_sip("Authorization: " + piece * (200_000 // len(piece)))
    assert time.process_time() - started < 5


def test_telephone_keys_are_hidden() -> None:
    seen = redact_sip("INFO sip:bob@example.test SIP/2.0\r\n\r\nSignal=7\r\nDuration=160\r\n")
    assert seen.endswith(f"\r\n\r\nSignal={HIDDEN}\r\nDuration=160\r\n")
