"""What a trace holds after a whole call: nothing with which its reader could listen, relay or sign in."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson, password_of
from iceway.lab.topologies import DOMAIN
from iceway.lab.topology import Topology
from iceway.trace.entry import to_json
from tests.e2e.calls import both_join, connect


@pytest.mark.parametrize("topology", [topologies.relayed_udp(), topologies.relayed_tcp()])
def test_a_trace_of_a_whole_call_holds_no_secret(topology: Topology) -> None:
    office, alice, bob = both_join(topology)
    connect(alice, bob)
    hidden = [secret for person in (alice, bob) for secret in _secrets(office, person)]
    text = "\n".join(map(to_json, office.close()))
    assert len(hidden) >= 20
    assert "INVITE sip:" in text
    for secret in hidden:
        for spelling in _spellings(secret):
            assert spelling not in text, secret


def _secrets(office: VirtualOffice, person: VirtualPerson) -> list[str | bytes]:
    (call,) = person.phone._calls.values()
    sound = call._media.audio
    assert sound is not None
    keys = (sound.negotiated.send_key, sound.negotiated.recv_key)
    standing = call._first.agent._session
    assert standing.remote is not None
    found: list[str | bytes] = [password_of(person.name), standing.local.pwd, standing.remote.pwd]
    found += [key.key_and_salt for key in keys if key is not None]
    found += [server.password for server in person.phone._granted]
    found += [b64decode(server.password) for server in person.phone._granted]
    for login in (person.name, f"{person.name}@{DOMAIN}"):
        for algorithm in ("MD5", "SHA-256"):
            ha1 = office.store.ha1(login, DOMAIN, algorithm)
            assert ha1 is not None
            found.append(ha1)
    found += [office.store.secret("nonces", b""), office.store.secret("flow tokens", b"")]
    found += [office.keys.current.username, office.keys.current.password, office.keys.current.identity]
    return found


def _spellings(secret: str | bytes) -> set[str]:
    raw = secret.encode() if isinstance(secret, str) else secret
    spellings = {raw.hex(), b64encode(raw).decode().rstrip("=")}
    return spellings | ({secret} if isinstance(secret, str) else set())
