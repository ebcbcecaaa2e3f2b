"""Relay credentials: minted by one edge, checked by another, refused with the true reason."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.edge.credentials import (
    Accepted,
    KeyRing,
    Rejected,
    TokenKeys,
    private_key_secret,
)

ALICE = "sip:alice@example.test"
NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z
HOURS = 3600.0
POOL = TokenKeys.derive(b"the key of the pool's certificate")
OTHER = TokenKeys.derive(b"the key of somebody else")


def test_one_edge_mints_and_another_of_the_pool_accepts() -> None:
    minted = KeyRing(POOL).mint(ALICE, 8 * HOURS, NOON)
    answer = KeyRing(POOL).verify(minted.username, NOON + 5)
    assert answer == Accepted(minted.password, minted.user_id, NOON + 8 * HOURS, minted.key_id)


def test_the_known_vector_of_the_first_layout() -> None:
    keys = TokenKeys(identity=b"lab-identity-key", username=bytes(range(20)), password=bytes(range(20, 40)))
    midnight = NOON - 12 * HOURS
    minted = KeyRing(keys).mint(ALICE.replace("example.test", "lab.example"), 8 * HOURS, midnight)
    assert b64decode(minted.username).hex() == (
        "01000020a0a4400001dc7af456bb92e23f9f70b206e95838f9ba25f920e1f7a1"
        "5571a4408318260b1fe3c2beaa664a3e4925cbca"
    )
    assert minted.username == "AQAAIKCkQAAB3Hr0VruS4j+fcLIG6Vg4+bol+SDh96FVcaRAgxgmCx/jwr6qZko+SSXLyg=="
    assert b64decode(minted.password).hex() == "45ae28c6bac320e3da3251cd4aa07283860807fc"
    assert isinstance(KeyRing(keys).verify(minted.username, midnight), Accepted)


def test_the_token_names_no_one_and_carries_its_key() -> None:
    minted = KeyRing(POOL).mint(ALICE, HOURS, NOON)
    raw = b64decode(minted.username)
    assert len(raw) == 56
    assert raw[:4] == bytes.fromhex("02000024")
    assert b"alice" not in raw
    assert raw[32:36].hex() == minted.key_id == POOL.label
    assert "password" not in repr(minted)
    assert minted.password not in repr(minted)


def test_an_edge_with_another_key_says_so() -> None:
    minted = KeyRing(POOL).mint(ALICE, HOURS, NOON)
    answer = KeyRing(OTHER).verify(minted.username, NOON)
    assert answer == Rejected(
        f"made with key {POOL.label}, which this edge does not hold (it has {OTHER.label})",
        "Credentials made with a key this edge does not hold",
    )


def test_expired_credentials_are_refused_with_their_age() -> None:
    minted = KeyRing(POOL).mint(ALICE, HOURS, NOON)
    assert isinstance(KeyRing(POOL).verify(minted.username, NOON + HOURS - 1), Accepted)
    answer = KeyRing(POOL).verify(minted.username, NOON + HOURS + 93)
    assert answer == Rejected(
        "credentials expired 93 s ago", "Credentials expired 93 s ago", user_id=minted.user_id
    )


def test_policy_caps_what_is_asked_for() -> None:
    ring = KeyRing(POOL, max_lifetime=2 * HOURS)
    assert ring.mint(ALICE, 8 * HOURS, NOON).expires_at == NOON + 2 * HOURS
    assert ring.mint(ALICE, HOURS, NOON).expires_at == NOON + HOURS


def test_a_clock_ten_minutes_off_is_forgiven_and_a_day_off_is_explained() -> None:
    minted = KeyRing(POOL).mint(ALICE, 8 * HOURS, NOON)
    assert isinstance(KeyRing(POOL).verify(minted.username, NOON - 600), Accepted)
    assert isinstance(KeyRing(POOL).verify(minted.username, NOON + 600), Accepted)
    answer = KeyRing(POOL).verify(minted.username, NOON - 24 * HOURS)
    assert isinstance(answer, Rejected)
    assert "a clock is wrong" in answer.reason
    assert "clock" in answer.phrase


def test_the_old_key_verifies_through_a_roll_over_and_not_longer() -> None:
    before = KeyRing(POOL)
    old = before.mint(ALICE, 8 * HOURS, NOON - 60)
    after = before.roll(OTHER, NOON)
    assert after.mint(ALICE, 8 * HOURS, NOON).key_id == OTHER.label
    assert isinstance(after.verify(old.username, NOON + 7.9 * HOURS), Accepted)
    late = after.verify(old.username, NOON + 8.1 * HOURS)
    assert isinstance(late, Rejected)
    assert late.reason == f"made with key {POOL.label}, which was retired"
    again = after.roll(TokenKeys.derive(b"third"), NOON + 9 * HOURS)
    assert [retired.keys for retired in again.retired] == [OTHER]


def test_rolling_to_the_same_key_changes_nothing() -> None:
    ring = KeyRing(POOL)
    assert ring.roll(POOL, NOON).retired == ()
    back = ring.roll(OTHER, NOON).roll(POOL, NOON + 1)
    assert [retired.keys for retired in back.retired] == [OTHER]


@pytest.mark.parametrize(
    "username",
    ["", "alice", "!!!!", "é", "A" * 500, b64encode(bytes(56)).decode(), b64encode(bytes(20)).decode()],
)
def test_names_that_no_edge_made_are_malformed(username: str) -> None:
    answer = KeyRing(POOL).verify(username, NOON)
    assert isinstance(answer, Rejected)
    assert "not one that an edge makes" in answer.reason
    assert "expired" not in answer.phrase


@settings(max_examples=100, deadline=None)
@given(st.integers(4, 55), st.integers(1, 255))
def test_no_altered_token_is_accepted(position: int, flip: int) -> None:
    raw = bytearray(b64decode(KeyRing(POOL).mint(ALICE, HOURS, NOON).username))
    raw[position] ^= flip
    answer = KeyRing(POOL).verify(b64encode(bytes(raw)).decode(), NOON)
    assert isinstance(answer, Rejected)
    assert "expired" not in answer.phrase


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=100))
def test_any_text_can_come_as_a_username(username: str) -> None:
    assert isinstance(KeyRing(POOL).verify(username, NOON), Rejected)


def test_minted_credentials_survive_clients_that_trim_quotes_and_nuls() -> None:
    rerolled = 0
    for number in range(2000):
        minted = KeyRing(POOL).mint(f"sip:u{number}@example.test", HOURS, NOON)
        username, password = b64decode(minted.username), b64decode(minted.password)
        for raw in (username, password):
            assert raw.strip(b'"').rstrip(b'"\x00') == raw
        ticks = int.from_bytes(username[8:12]) << 32 | int.from_bytes(username[4:8])
        rerolled += ticks % 10_000_000 > 0
        answer = KeyRing(POOL).verify(minted.username, NOON)
        assert isinstance(answer, Accepted)
        assert answer.expires_at == NOON + HOURS
    assert rerolled > 0


def _pems(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> list[bytes]:
    return [
        key.private_bytes(Encoding.PEM, form, NoEncryption())
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    ]


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())],
    ids=["rsa", "ec"],
)
def test_keys_depend_on_the_private_key_and_not_on_its_file(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
) -> None:
    first, second = map(TokenKeys.from_pem, _pems(key))
    assert first == second
    assert len({first.identity, first.username, first.password}) == 3
    assert TokenKeys.from_pem(_pems(ec.generate_private_key(ec.SECP256R1()))[0]) != first


def test_an_rsa_key_whose_primes_are_swapped_is_the_same_key() -> None:
    key = rsa.generate_private_key(65537, 2048)
    n = key.private_numbers()
    swapped = rsa.RSAPrivateNumbers(
        p=n.q, q=n.p, d=n.d, dmp1=n.dmq1, dmq1=n.dmp1, iqmp=rsa.rsa_crt_iqmp(n.q, n.p),
        public_numbers=n.public_numbers,
    ).private_key()  # fmt: skip
    assert private_key_secret(_pems(key)[0]) == private_key_secret(_pems(swapped)[0])


def test_an_eddsa_key_serves_as_well() -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    ring = KeyRing.from_pem(pem, max_lifetime=HOURS)
    assert ring.mint(ALICE, 8 * HOURS, NOON).expires_at == NOON + HOURS


def _encrypted() -> bytes:
    protection: KeySerializationEncryption = BestAvailableEncryption(b"secret")
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, protection
    )


def _dsa() -> bytes:
    return dsa.generate_private_key(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("make", [lambda: b"no key", _encrypted, _dsa], ids=["junk", "encrypted", "dsa"])
def test_keys_that_cannot_serve_are_named_with_a_remedy(make: object) -> None:
    assert callable(make)
    with pytest.raises(EnvironmentFailure) as failure:
        TokenKeys.from_pem(make())
    assert failure.value.remedy


def test_a_lifetime_under_a_minute_is_a_mistake() -> None:
    with pytest.raises(UsageError):
        KeyRing(POOL, max_lifetime=5)
