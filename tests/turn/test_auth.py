"""Authenticators and stateless nonces."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.turn.auth import (
    Accepted,
    Nonces,
    Rejected,
    StaticAuthenticator,
    TimeLimitedAuthenticator,
)
from iceway.wire import stun

CLIENT = Address("198.51.100.7", 40000)


def test_static_users_have_the_key_of_their_password() -> None:
    found = StaticAuthenticator({"älice": "pw"}).lookup("älice".encode(), "r", 0)
    assert found == Accepted(stun.long_term_key("älice", "r", "pw"), "älice")
    assert StaticAuthenticator({}).lookup(b"bob", "r", 0) == Rejected("unknown user")


def test_time_limited_credentials_are_those_of_coturn() -> None:
    """The value was made with `openssl dgst -sha1 -hmac north`."""
    authenticator = TimeLimitedAuthenticator("north")
    username, password = authenticator.credentials("alice", 1_800_000_000.9)
    assert (username, password) == ("1800000000:alice", "sIm7pn/teO7y3AyXGeXl/xAQR6Q=")
    found = authenticator.lookup(username.encode(), "r", 1_799_999_999)
    assert found == Accepted(stun.long_term_key(username, "r", password), "alice", 1_800_000_000.0)


@pytest.mark.parametrize("name", [b"", b"alice", b"x:alice", b"-1:alice", b"9999999999999:a", b"\xff:\xff"])
def test_a_name_without_expiry_is_rejected(name: bytes) -> None:
    found = TimeLimitedAuthenticator("s").lookup(name, "r", 0)
    assert found == Rejected("the user name holds no expiry time")


def test_a_name_of_the_past_is_rejected_and_the_client_told_so() -> None:
    found = TimeLimitedAuthenticator("s").lookup(b"1000:a", "r", 1093)
    assert found == Rejected("credentials expired 93 s ago", "Credentials expired 93 s ago")


# --- nonces ---------------------------------------------------------------------------------------------
def test_a_nonce_is_good_for_its_client_for_an_hour() -> None:
    nonces = Nonces(b"key")
    nonce = nonces.make(CLIENT, 1000.0)
    assert len(nonce) == 16
    assert nonces.is_fresh(nonce, CLIENT, 1000.0)
    assert nonces.is_fresh(nonce, CLIENT, 4600.0)
    assert not nonces.is_fresh(nonce, CLIENT, 4601.0)
    assert not nonces.is_fresh(nonce, Address(CLIENT.ip, 40001), 1000.0)
    assert not Nonces(b"another").is_fresh(nonce, CLIENT, 1000.0)


def test_a_nonce_of_the_future_is_not_taken() -> None:
    nonces = Nonces(b"key")
    assert not nonces.is_fresh(nonces.make(CLIENT, 5000.0), CLIENT, 1000.0)


@given(st.binary(max_size=40))
@settings(max_examples=200)
def test_nobody_guesses_a_nonce(nonce: bytes) -> None:
    assert not Nonces(b"key").is_fresh(nonce, CLIENT, 1000.0)
    assert not Nonces(b"key").is_fresh(base64.urlsafe_b64encode(nonce[:12]), CLIENT, 1000.0)
