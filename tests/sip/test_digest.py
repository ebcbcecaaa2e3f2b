"""Digest authentication: a client and a server in conversation, and the examples of the RFCs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.sip.digest import (
    Algorithm,
    Authenticated,
    DigestClient,
    DigestServer,
    NotAuthenticated,
    _response,
    hash_a1,
)
from iceway.wire.sip import Challenge, Credentials, Headers, Request, make_response

REALM = "example.test"


def lookup(user: str, algorithm: Algorithm) -> str | None:
    return hash_a1(user, REALM, "secret", algorithm) if user == "alice" else None


def a_request(method: str = "REGISTER", uri: str = "sip:example.test") -> Request:
    return Request(method, uri, headers=Headers.of(("Call-ID", "1"), ("CSeq", f"1 {method}")))


def server(*algorithms: Algorithm, key: bytes = b"k") -> DigestServer:
    return DigestServer(REALM, key, random.Random(1), algorithms or tuple(Algorithm))


def client(password: str = "secret", user: str = "alice") -> DigestClient:
    return DigestClient(user, password, random.Random(2))


def challenged(by: DigestServer, request: Request, now: float, proxy: bool = False, stale: bool = False):  # type: ignore[no-untyped-def]
    header = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
    return make_response(request, 407 if proxy else 401).with_header(header, *by.challenges(now, stale))


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("proxy", [False, True])
def test_a_challenge_is_answered_and_accepted(algorithm: Algorithm, proxy: bool) -> None:
    us, them = client(), server(algorithm)
    request = a_request()
    assert them.check(request, lookup, 0, proxy=proxy) == NotAuthenticated("no credentials")
    again = us.answer(challenged(them, request, 0, proxy), request)
    assert again is not None
    assert them.check(again, lookup, 1, proxy=proxy) == Authenticated("alice")
    assert them.check(again, lookup, 1, proxy=not proxy) == NotAuthenticated("no credentials")


def test_the_strongest_algorithm_offered_is_used_and_the_nonce_goes_on() -> None:
    us, them = client(), server()
    first = a_request()
    response = challenged(them, first, 0)
    assert [Challenge.parse(v).algorithm for v in response.headers.all("WWW-Authenticate")] == [
        "SHA-512-256",
        "SHA-256",
        "MD5",
    ]
    again = us.answer(response, first)
    assert again is not None
    later = us.authorize(a_request("SERVICE"))
    one, two = (Credentials.parse(r.headers.get("Authorization") or "") for r in (again, later))
    assert (one.algorithm, one.get("nc"), two.get("nc")) == ("SHA-512-256", "00000001", "00000002")
    assert one.nonce == two.nonce
    assert one.get("cnonce") != two.get("cnonce")
    assert them.check(again, lookup, 1) == them.check(later, lookup, 2) == Authenticated("alice")


def test_a_recorded_request_cannot_be_played_again() -> None:
    us, them = client(), server()
    again = us.answer(challenged(them, a_request(), 0), a_request())
    assert again is not None
    requests = [again, *(us.authorize(a_request()) for _ in range(4))]
    order = [0, 2, 1, 4, 3]  # a little disorder is no replay
    assert all(them.check(requests[at], lookup, 1) == Authenticated("alice") for at in order)
    for request in requests:
        assert them.check(request, lookup, 1) == NotAuthenticated(
            "the nonce count was used before", "alice", stale=True
        )


def test_an_old_nonce_is_stale_and_replaced_without_asking_the_user() -> None:
    us, them = client(), server()
    again = us.answer(challenged(them, a_request(), 0), a_request())
    assert again is not None
    verdict = them.check(again, lookup, 301)
    assert verdict == NotAuthenticated("the nonce is 301 s old", "alice", stale=True)
    fresh = us.answer(challenged(them, again, 301, stale=True), again)
    assert fresh is not None
    assert them.check(fresh, lookup, 302) == Authenticated("alice")


def test_a_nonce_of_another_server_is_stale_unless_the_key_is_shared() -> None:
    us, them = client(), server()
    again = us.answer(challenged(them, a_request(), 0), a_request())
    assert again is not None
    assert server(key=b"k").check(again, lookup, 1) == Authenticated("alice")
    verdict = server(key=b"other").check(again, lookup, 1)
    assert isinstance(verdict, NotAuthenticated)
    assert verdict.stale


def test_a_wrong_password_is_told_and_not_tried_again() -> None:
    us, them = client("wrong"), server()
    again = us.answer(challenged(them, a_request(), 0), a_request())
    assert again is not None
    assert them.check(again, lookup, 1) == NotAuthenticated("wrong password", "alice", failed=True)
    assert us.answer(challenged(them, again, 1), again) is None
    assert us.authorize(a_request()).headers.get("Authorization") is None, "nothing refused is sent unasked"


def test_credentials_sent_unasked_may_fail_once() -> None:
    us, them = client(), server()
    assert us.answer(challenged(them, a_request(), 0), a_request()) is not None
    unasked = us.authorize(a_request())
    response = challenged(server(key=b"restarted"), unasked, 1)
    assert us.answer(response, unasked, preemptive=True) is not None


def test_an_unknown_user_looks_like_a_wrong_password() -> None:
    us, them = client(user="mallory"), server()
    again = us.answer(challenged(them, a_request(), 0), a_request())
    assert again is not None
    assert them.check(again, lookup, 1) == NotAuthenticated("wrong password", "mallory", failed=True)


def test_two_realms_are_answered_together() -> None:
    us, home, proxy = client(), server(), DigestServer("proxy.test", b"p", random.Random(3))
    request = a_request()
    once = us.answer(challenged(home, request, 0), request)
    assert once is not None
    twice = us.answer(challenged(proxy, once, 0, proxy=True), once)
    assert twice is not None
    assert home.check(twice, lookup, 1) == Authenticated("alice")
    assert Credentials.parse(twice.headers.get("Proxy-Authorization") or "").realm == "proxy.test"


def test_whom_we_call_does_not_get_a_digest_of_our_password() -> None:
    """A realm that did not ask when we registered is somebody who wants to guess the password."""
    us, home, mallory = client(), server(), DigestServer("mallory.test", b"m", random.Random(3))
    register, invite = a_request(), a_request("INVITE", "sip:mallory@example.test")
    assert us.answer(challenged(home, register, 0), register) is not None
    assert us.answer(challenged(mallory, invite, 0), invite) is None
    assert us.answer(challenged(mallory, invite, 0, proxy=True), invite) is None
    again = us.answer(challenged(home, invite, 0, proxy=True), invite)
    assert again is not None
    proofs = [*again.headers.all("Authorization"), *again.headers.all("Proxy-Authorization")]
    assert {Credentials.parse(proof).realm for proof in proofs} == {REALM}


@pytest.mark.parametrize(
    "value",
    [
        'NTLM realm="example.test", nonce="x"',
        'Digest realm="example.test", nonce="x", algorithm=MD5-sess, qop="auth"',
        'Digest realm="example.test", nonce="x", qop="auth-int"',
        'Digest realm="example.test"',
        "Digest",
    ],
)
def test_challenges_we_cannot_answer_are_left(value: str) -> None:
    response = make_response(a_request(), 401).with_header("WWW-Authenticate", value)
    assert client().answer(response, a_request()) is None


def test_a_server_without_qop_is_answered_in_the_old_way() -> None:
    response = make_response(a_request(), 401).with_header(
        "WWW-Authenticate", 'Digest realm="example.test", nonce="n", opaque="o"'
    )
    again = client().answer(response, a_request())
    assert again is not None
    credentials = Credentials.parse(again.headers.get("Authorization") or "")
    assert (credentials.get("qop"), credentials.get("nc"), credentials.get("opaque")) == (None, None, "o")


def test_credentials_for_another_resource_are_refused() -> None:
    us, them = client(), server()
    again = us.answer(challenged(them, a_request(), 0), a_request())
    assert again is not None
    moved = Request(again.method, "sip:victim@other.test", headers=again.headers)
    verdict = them.check(moved, lookup, 1)
    assert isinstance(verdict, NotAuthenticated)
    assert "not for the request's URI" in verdict.reason
    same = Request(again.method, "sip:EXAMPLE.test;transport=tls", headers=again.headers)
    assert them.check(same, lookup, 1) == Authenticated("alice")


def test_the_null_uri_of_old_clients_is_computed_as_sent() -> None:
    them = server(Algorithm.MD5)
    nonce = Challenge.parse(them.challenges(0)[0]).nonce
    params = [("username", "alice"), ("realm", REALM), ("nonce", nonce), ("uri", "(null)")]
    params += [("algorithm", "MD5"), ("qop", "auth"), ("nc", "00000001"), ("cnonce", "c")]
    a1 = hash_a1("alice", REALM, "secret", Algorithm.MD5)
    proof = _response(a1, "REGISTER", "(null)", Credentials.digest(params), Algorithm.MD5)
    request = a_request().with_last("Authorization", str(Credentials.digest([*params, ("response", proof)])))
    assert them.check(request, lookup, 1) == Authenticated("alice")


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (Algorithm.MD5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm.SHA_256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616(algorithm: Algorithm, expected: str) -> None:
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    credentials = Credentials.digest(
        [("nonce", nonce), ("nc", "00000001"), ("cnonce", cnonce), ("qop", "auth"), ("algorithm", algorithm)]
    )
    a1 = hash_a1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm)
    assert _response(a1, "GET", "/dir/index.html", credentials, algorithm) == expected


@given(st.text(alphabet=st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=60))
def test_no_credentials_raise(text: str) -> None:
    us, them = client(), server()
    for value in (text, "Digest " + text, f'Digest realm="{REALM}", nonce="{text}", qop=auth, nc=0000000x'):
        request = a_request().with_last("Authorization", value)
        assert isinstance(them.check(request, lookup, 0), NotAuthenticated)
        us.answer(make_response(request, 401).with_header("WWW-Authenticate", value), request)
