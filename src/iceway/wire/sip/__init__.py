"""SIP messages: bytes ⇄ values (RFC 3261 §7, §19, §20, §25).

A message is its start line, its header fields in their order, and a body of bytes. Fields are split when
the message is parsed; what a field *means* (`message.top_via`, `message.cseq`) is parsed when asked for, and
any such view may raise ParseError. `validate` asks for all that every message must have. Messages are
immutable; the `with_…` helpers return changed copies.
"""

from iceway.wire.sip.authentication import Challenge, Credentials, parse_challenges
from iceway.wire.sip.fields import CSeq, NameAddr, RAck, Via, parse_addresses
from iceway.wire.sip.framer import MAX_BODY, MAX_HEAD, Keepalive, StreamFramer
from iceway.wire.sip.headers import Headers, canonical_name
from iceway.wire.sip.message import (
    MalformedMessage,
    Message,
    Request,
    Response,
    make_response,
    parse_message,
    reason_phrase,
    validate,
)
from iceway.wire.sip.syntax import Params, quote, split_outside, unquote
from iceway.wire.sip.uri import SipUri

__all__ = [
    "MAX_BODY",
    "MAX_HEAD",
    "CSeq",
    "Challenge",
    "Credentials",
    "Headers",
    "Keepalive",
    "MalformedMessage",
    "Message",
    "NameAddr",
    "Params",
    "RAck",
    "Request",
    "Response",
    "SipUri",
    "StreamFramer",
    "Via",
    "canonical_name",
    "make_response",
    "parse_addresses",
    "parse_challenges",
    "parse_message",
    "quote",
    "reason_phrase",
    "split_outside",
    "unquote",
    "validate",
]
