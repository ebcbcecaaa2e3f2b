"""Messages in the spirit of RFC 4475 and RFC 5118, in words of our own: what must be taken, what must not be."""

from __future__ import annotations

import pytest

from iceway.wire.sip import MalformedMessage, NameAddr, Request, Response, parse_message, validate


def lines(*rows: str | bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join(row.encode() if isinstance(row, str) else row for row in rows) + b"\r\n\r\n" + body


def a_request(*changed: str, start: str = "OPTIONS sip:bob@b.test SIP/2.0", body: bytes = b"") -> bytes:
    """A sound request, some of whose headers are replaced by those given (or added)."""
    method = start.split(" ")[0]
    fields = {
        "Via": "SIP/2.0/UDP host.test;branch=z9hG4bKx",
        "From": "<sip:alice@a.test>;tag=1",
        "To": "<sip:bob@b.test>",
        "Call-ID": "c1",
        "CSeq": f"1 {method}",
        "Max-Forwards": "70",
    }
    rows = [f"{name}: {value}" for name, value in fields.items()]
    kept = [
        row for row in rows if not any(c.lower().startswith(row.split(":")[0].lower() + ":") for c in changed)
    ]
    return lines(start, *kept, *changed, body=body)


def taken(data: bytes) -> Request | Response:
    message = parse_message(data)
    validate(message)
    again = parse_message(message.serialize())
    assert (again.start_line, again.body) == (message.start_line, message.body)
    assert dict(message.headers.items).items() <= dict(again.headers.items).items()
    return message


def test_an_invite_with_every_freedom_of_the_grammar() -> None:
    message = taken(
        lines(
            "INVITE sip:vik@chair.test;unknownparam SIP/2.0",
            "TO :",
            " sip:vik@chair.test ;   tag    = 1918181833n",
            'from   : "J Rosenberg \\\\\\""       <sip:jr@example.test>',
            "  ;",
            "  tag = 98asjd8",
            "MaX-fOrWaRdS: 0068",
            "Call-ID: wsinv.ndaksdj@192.0.2.1",
            "Content-Length   : 2",
            "cseq: 0009",
            "  INVITE",
            "Via  : SIP  /   2.0",
            " /UDP",
            "    192.0.2.2;branch=390skdjuw",
            "s :",
            "NewFangled:   value",
            "\tcontinued value",
            "Strange: ;;,,;;,;",
            "Route:",
            " <sip:services.test;lr;unknownwith=value;unknown-no-value>",
            "v:  SIP  / 2.0  / TCP     spindle.test   ;",
            "  branch  =   z9hG4bK9ikj8  ,",
            " SIP  /    2.0   / UDP  192.168.255.111   ; branch=",
            " z9hG4bK30239",
            'm:"Quoted string \\"\\"" <sip:jr@example.test> ; newparam =',
            "      newvalue ;",
            "  secondparam ; q = 0.33",
            body=b"v=",
        )
    )
    assert isinstance(message, Request)
    assert message.to.tag == "1918181833n"
    assert message.from_.display == 'J Rosenberg \\"'
    assert message.cseq.number == 9
    assert [via.host for via in message.vias] == ["192.0.2.2", "spindle.test", "192.168.255.111"]
    assert message.vias[2].branch == "z9hG4bK30239"
    (contact,) = message.contacts
    assert (contact.display, contact.q, contact.params.get("newparam")) == (
        'Quoted string ""',
        0.33,
        "newvalue",
    )
    assert message.headers.get("newfangled") == "value continued value"


def test_strange_characters_where_they_are_allowed() -> None:
    method = "!interesting-Method0123456789_*+`.%indeed'~"
    user = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    message = taken(
        a_request(
            'To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:x@example.test>',
            "extension-name: \U0001f600 日本",
            start=f"{method} sip:{user}@example.test SIP/2.0",
        )
    )
    assert isinstance(message, Request)
    assert message.method == method
    assert message.sip_uri.host == "example.test"
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert NameAddr.parse(str(message.to)) == message.to


@pytest.mark.parametrize(
    ("changed", "start", "body"),
    [
        pytest.param((), "INVITE sip:sips%3Auser%40example.test@example.net SIP/2.0", b"", id="escapes"),
        pytest.param((), "REGISTER sip:null-%00-null@example.test SIP/2.0", b"", id="escaped null"),
        pytest.param((), "RE%47IST%45R sip:registrar.test SIP/2.0", b"", id="no escapes in methods"),
        pytest.param(
            ("From: caller<sip:c@x.test>;tag=3",), "OPTIONS sip:u@x.test SIP/2.0", b"", id="no space"
        ),
        pytest.param((), "OPTIONS sip:user;par=u%40example.net@example.test SIP/2.0", b"", id="semicolons"),
        pytest.param(
            ("Via: SIP/2.0/UDP t1;branch=1, SIP/2.0/UNKNOWN t5;branch=5",),
            "OPTIONS sip:u SIP/2.0",
            b"",
            id="vias",
        ),
        pytest.param((), "OPTIONS nobodyKnowsThisScheme:totallyopaque SIP/2.0", b"", id="unknown scheme"),
        pytest.param((), "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", b"", id="hierarchical scheme"),
        pytest.param(("To: <isbn:2983792873>",), "REGISTER sip:x SIP/2.0", b"", id="unknown scheme in To"),
        pytest.param(
            ("Contact: <sip:u@x.test?Route=%3Csip:y.test%3E>",),
            "REGISTER sip:x SIP/2.0",
            b"",
            id="escaped header",
        ),
        pytest.param(("Contact: *",), "REGISTER sip:x SIP/2.0", b"", id="star"),
        pytest.param(("Max-Forwards: 0",), "OPTIONS sip:x SIP/2.0", b"", id="no more hops"),
        pytest.param(("Content-Type: x/y",), "OPTIONS sip:x SIP/2.0", b"\x00\xff\r\n\r\n", id="binary body"),
        pytest.param(("X: " + "y" * 60000,), "OPTIONS sip:x SIP/2.0", b"", id="long"),
        pytest.param(
            ("Date: sometime",), "OPTIONS sip:x SIP/2.0", b"", id="what nobody asks for may be wrong"
        ),
        pytest.param((), "OPTIONS sip:x@[2001:db8::10]:5060 sip/2.0", b"", id="IPv6, version in lower case"),
        pytest.param(
            ("Via: SIP/2.0/UDP [2001:db8::1];received=2001:db8::9:255;branch=z9hG4bKx",),
            "OPTIONS sip:x@[::ffff:192.0.2.10] SIP/2.0",
            b"",
            id="IPv6 received without brackets",
        ),
    ],
)
def test_valid(changed: tuple[str, ...], start: str, body: bytes) -> None:
    taken(a_request(*changed, start=start, body=body))


@pytest.mark.parametrize("reason", ["", "= 2**3 * 5**2 но сто девяносто девять - простое"])
def test_reasons(reason: str) -> None:
    message = taken(a_request("CSeq: 1 OPTIONS", start=f"SIP/2.0 183 {reason}"))
    assert isinstance(message, Response)
    assert message.reason == reason


def test_what_follows_the_message_in_a_datagram_is_not_it() -> None:
    second = a_request(start="REGISTER sip:second.test SIP/2.0")
    message = parse_message(a_request("Content-Length: 0") + second)
    assert message.body == b""


@pytest.mark.parametrize(
    ("changed", "start"),
    [
        pytest.param(
            ("Contact: <sip:a@b>;;x", "CSeq: 1 INVITE"), "INVITE sip:u@x SIP/2.0", id="empty parameter"
        ),
        pytest.param(
            ("Via: SIP/2.0/UDP a;branch=1;;,;,,",), "OPTIONS sip:u@x SIP/2.0", id="stray separators"
        ),
        pytest.param(("Content-Length: 9999",), "OPTIONS sip:u@x SIP/2.0", id="length beyond the end"),
        pytest.param(("Content-Length: -999",), "OPTIONS sip:u@x SIP/2.0", id="negative length"),
        pytest.param(("Content-Length: 0", "l: 1"), "OPTIONS sip:u@x SIP/2.0", id="two lengths"),
        pytest.param(("CSeq: 36893488147419103232 OPTIONS",), "OPTIONS sip:u@x SIP/2.0", id="huge CSeq"),
        pytest.param(("Max-Forwards: 300",), "OPTIONS sip:u@x SIP/2.0", id="huge Max-Forwards"),
        pytest.param(("Expires: 99999999999999999999999",), "OPTIONS sip:u@x SIP/2.0", id="huge Expires"),
        pytest.param(("CSeq: 9292394834772304023312 OPTIONS",), "SIP/2.0 503 Huge", id="huge, in a response"),
        pytest.param(('To: "Mr. J. User <sip:j@x.test>',), "OPTIONS sip:u@x SIP/2.0", id="open quote"),
        pytest.param((), "OPTIONS <sip:u@x> SIP/2.0", id="brackets in the request line"),
        pytest.param((), "OPTIONS sip:u@x; lr SIP/2.0", id="space in the Request-URI"),
        pytest.param((), "OPTIONS  sip:u@x  SIP/2.0", id="two spaces in the request line"),
        pytest.param((), "OPTIONS sip:u@x SIP/2.0 ", id="trailing space in the request line"),
        pytest.param((), "OPTIONS sip:u@x?Route=%3Csip:y%3E SIP/2.0", id="headers in the Request-URI"),
        pytest.param(
            ("Contact: sip:u@x?Route=%3Csip:y%3E",), "REGISTER sip:x SIP/2.0", id="? without brackets"
        ),
        pytest.param(
            ("From: Bell, Alexander <sip:a@b>;tag=1",), "OPTIONS sip:u@x SIP/2.0", id="unquoted comma"
        ),
        pytest.param(("From: <sip:a b@c>;tag=1",), "OPTIONS sip:u@x SIP/2.0", id="space in an address"),
        pytest.param((), "OPTIONS sip:u@x SIP/7.0", id="unknown version"),
        pytest.param(("CSeq: 8 INVITE",), "OPTIONS sip:u@x SIP/2.0", id="another method in CSeq"),
        pytest.param((), "SIP/2.0 4294967301 better not", id="huge status"),
        pytest.param((), "SIP/2.0 700 beyond", id="status out of range"),
        pytest.param(("CSeq: 1 OPTIONS", "CSeq: 2 OPTIONS"), "OPTIONS sip:u@x SIP/2.0", id="two CSeqs"),
        pytest.param(
            ("From: <sip:a@b>;tag=1", "f: <sip:c@d>;tag=2"), "OPTIONS sip:u@x SIP/2.0", id="two Froms"
        ),
        pytest.param(("Call-ID: one", "i: two"), "OPTIONS sip:u@x SIP/2.0", id="two Call-IDs"),
        pytest.param(("To:",), "OPTIONS sip:u@x SIP/2.0", id="empty To"),
        pytest.param((), "OPTIONS nothing SIP/2.0", id="no scheme"),
        pytest.param((), "OPTIONS sip:2001:db8::10 SIP/2.0", id="IPv6 without brackets"),
        pytest.param(("No colon here",), "OPTIONS sip:u@x SIP/2.0", id="no colon"),
        pytest.param(("Sp ace: x",), "OPTIONS sip:u@x SIP/2.0", id="space in a header name"),
        pytest.param(("X: a\rY: b",), "OPTIONS sip:u@x SIP/2.0", id="bare CR"),
        pytest.param(("X: a\n\nY: b",), "OPTIONS sip:u@x SIP/2.0", id="an empty line that ends nothing"),
        pytest.param(
            ("Content-Length: 0\nContent-Length: 1",),
            "OPTIONS sip:u@x SIP/2.0",
            id="two lengths, one behind LF",
        ),
    ],
)
def test_invalid(changed: tuple[str, ...], start: str) -> None:
    data = a_request(*changed, start=start)
    with pytest.raises(MalformedMessage) as caught:
        validate(parse_message(data))
    is_request = not start.startswith("SIP/")
    readable = "bare" not in str(caught.value)
    assert (caught.value.request is not None) == (is_request and readable), "so that it can be answered"


@pytest.mark.parametrize("missing", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_what_every_message_must_have(missing: str) -> None:
    data = b"\r\n".join(
        row for row in a_request().split(b"\r\n") if not row.startswith(missing.encode() + b":")
    )
    with pytest.raises(MalformedMessage, match=f"{missing} is missing"):
        validate(parse_message(data))


def test_headers_must_be_utf_8_and_not_endless_in_number() -> None:
    with pytest.raises(MalformedMessage, match="UTF-8"):
        parse_message(lines("OPTIONS sip:x SIP/2.0", b"Subject: \xff\xfe"))
    with pytest.raises(MalformedMessage, match="more than 1000"):
        parse_message(lines("OPTIONS sip:x SIP/2.0", *["X: y"] * 1001))
