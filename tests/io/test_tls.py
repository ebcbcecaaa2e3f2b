from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.machine import TlsClient, TlsServer
from iceway.io.devca import DevCa
from iceway.io.keystore import KeyStore
from iceway.io.reasons import failure_words
from iceway.io.tls import TlsPipe


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    ca = DevCa.open(tmp_path_factory.mktemp("ca"))
    return ca.keystore(a=ca.issue("a", ["a.test"]))


def pair(keys: KeyStore) -> tuple[TlsPipe, TlsPipe]:
    client = TlsPipe(keys.client_context(TlsClient("a.test")), server_name="a.test")
    server = TlsPipe(keys.server_context(TlsServer("a")), server_side=True)
    return client, server


def exchange(client: TlsPipe, server: TlsPipe, piece: int = 1 << 20) -> tuple[bytes, bytes]:
    """Carry bytes both ways, so many at a time, until both are quiet; what each of them read."""
    read = (bytearray(client.advance(b"")), bytearray(server.advance(b"")))
    while True:
        there, back = client.outgoing(), server.outgoing()
        if not there and not back:
            return bytes(read[0]), bytes(read[1])
        for start in range(0, len(there), piece):
            read[1].extend(server.advance(there[start : start + piece]))
        for start in range(0, len(back), piece):
            read[0].extend(client.advance(back[start : start + piece]))


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_text_goes_both_ways_however_the_network_cuts_it(keys: KeyStore, piece: int) -> None:
    client, server = pair(keys)
    exchange(client, server, piece)
    assert client.is_up
    assert server.is_up
    assert client.certificate()
    client.write(bytes(100_000))
    server.write(b"hello")
    assert exchange(client, server, piece) == (b"hello", bytes(100_000))


def test_text_before_the_end_is_read_and_the_end_is_seen(keys: KeyStore) -> None:
    client, server = pair(keys)
    exchange(client, server)
    client.write(b"the last words")
    client.close()
    assert server.advance(client.outgoing()) == b"the last words"
    assert server.is_over
    assert server.failure is None


def test_bytes_that_were_changed_on_the_way_end_it_after_the_text_before_them(keys: KeyStore) -> None:
    client, server = pair(keys)
    exchange(client, server)
    client.write(b"good")
    good = client.outgoing()
    client.write(b"changed")
    changed = bytearray(client.outgoing())
    changed[-1] ^= 1
    assert server.advance(good + bytes(changed)) == b"good"
    assert server.failure is not None
    assert failure_words(server.failure).startswith("TLS failed: ")
    assert server.outgoing()  # the alert


@given(data=st.binary(max_size=400))
def test_any_bytes_at_all_only_ever_fail(data: bytes, tls_keys: KeyStore) -> None:
    server = TlsPipe(tls_keys.server_context(TlsServer("a")), server_side=True)
    assert server.advance(data) == b""
    assert not server.is_up
    if server.failure is not None:
        assert failure_words(server.failure)


@pytest.fixture(scope="module")
def tls_keys(keys: KeyStore) -> KeyStore:
    return keys


@pytest.mark.parametrize("name", ["", ".a.test", "x" * 300])
def test_a_name_that_no_handshake_can_carry_is_refused_at_once(
    keys: KeyStore, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"."):
        TlsPipe(keys.client_context(TlsClient(name)), server_name=name)
