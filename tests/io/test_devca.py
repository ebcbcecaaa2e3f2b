from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from iceway.core.errors import EnvironmentFailure
from iceway.core.machine import TlsClient, TlsServer
from iceway.io.devca import Algorithm, DevCa
from iceway.io.keystore import Identity, KeyStore

NOW = datetime.datetime.now(datetime.UTC)


def load(identity: Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.certificate.read_bytes())


def test_a_directory_opened_again_has_the_same_authority_and_certificates(tmp_path: Path) -> None:
    first = DevCa.open(tmp_path / "new" / "ca")
    before = [
        path.read_bytes() for path in (first.certificate_path, *first.issue("edge", ["av.test", "10.0.0.2"]))
    ]
    again = DevCa.open(tmp_path / "new" / "ca")
    after = [
        path.read_bytes() for path in (again.certificate_path, *again.issue("edge", ["av.test", "10.0.0.2"]))
    ]
    assert before == after


def test_a_certificate_is_renewed_when_names_change_when_it_ends_soon_or_is_not_ours(tmp_path: Path) -> None:
    ca = DevCa.open(tmp_path)
    old = load(ca.issue("edge", ["a.test"], not_after=NOW + datetime.timedelta(days=2)))
    renewed = load(ca.issue("edge", ["a.test"]))
    assert renewed.serial_number != old.serial_number
    assert load(ca.issue("edge", ["a.test"])) == renewed
    renamed = load(ca.issue("edge", ["b.test"]))
    assert renamed.serial_number != renewed.serial_number

    ca.certificate_path.unlink()
    other = DevCa.open(tmp_path)
    assert load(other.issue("edge", ["b.test"])).serial_number != renamed.serial_number
    (tmp_path / "edge.pem").write_text("damaged")
    load(other.issue("edge", ["b.test"]))


def test_names_and_addresses_stand_in_the_certificate_which_both_ends_may_use(tmp_path: Path) -> None:
    certificate = load(DevCa.open(tmp_path).issue("edge", ["av.test", "10.0.0.2", "[2001:db8::2]"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["av.test"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.2", "2001:db8::2"]
    assert len(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == 2


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("ec", ec.EllipticCurvePrivateKey), ("rsa", rsa.RSAPrivateKey)]
)
def test_keys_are_private_and_of_the_kind_asked_for(tmp_path: Path, algorithm: Algorithm, kind: type) -> None:
    ca = DevCa.open(tmp_path, algorithm=algorithm)
    files = ca.issue("edge", ["a.test"], algorithm=algorithm)
    for path in (files.key, tmp_path / "ca.key"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert isinstance(load_pem_private_key(path.read_bytes(), None), kind)
    keys = ca.keystore(edge=files)
    assert keys.private_key_pem("edge") == files.key.read_bytes()
    keys.server_context(TlsServer("edge"))


def test_what_cannot_be_used_is_said_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("damaged")
    (tmp_path / "ca.key").write_text("damaged")
    with pytest.raises(EnvironmentFailure, match=r"cannot be used.*Remove the directory") as caught:
        DevCa.open(tmp_path)
    assert caught.value.remedy
    with pytest.raises(EnvironmentFailure, match="needs a name"):
        DevCa.open(tmp_path / "good").issue("edge", [])


# --- the key store ----------------------------------------------------------------------------------------
def test_the_key_store_names_what_is_wrong(tmp_path: Path) -> None:
    ca = DevCa.open(tmp_path)
    edge, other = ca.issue("edge", ["a.test"]), ca.issue("other", ["b.test"])
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no PEM")
    for keys, words in [
        (KeyStore({"edge": edge}), "no certificate is configured for 'front'"),
        (
            KeyStore({"front": Identity(tmp_path / "none.pem", edge.key)}),
            r"cannot load certificate .*none\.pem",
        ),
        (KeyStore({"front": Identity(edge.certificate, other.key)}), "cannot load certificate"),
        (KeyStore({"front": edge}, trust=[garbage]), r"cannot load trusted certificates from .*garbage\.pem"),
    ]:
        with pytest.raises(EnvironmentFailure, match=words):
            keys.server_context(TlsServer("front"))
        with pytest.raises(EnvironmentFailure, match=words):
            keys.client_context(TlsClient("a.test", identity="front"))
    with pytest.raises(EnvironmentFailure, match="cannot read the private key"):
        KeyStore({"x": Identity(edge.certificate, tmp_path / "none.key")}).private_key_pem("x")


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    ca = DevCa.open(tmp_path)
    edge = ca.issue("edge", ["a.test"])
    key = load_pem_private_key(edge.key.read_bytes(), None)
    edge.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(EnvironmentFailure, match="the private key is encrypted"):
        ca.keystore(edge=edge).server_context(TlsServer("edge"))


def test_reloading_takes_the_new_certificate_for_connections_from_now_on(tmp_path: Path) -> None:
    ca = DevCa.open(tmp_path)
    keys = ca.keystore(edge=ca.issue("edge", ["a.test"]))
    before = keys.server_context(TlsServer("edge"))
    assert keys.server_context(TlsServer("edge")) is before
    keys.add("other", ca.issue("other", ["b.test"]))
    assert keys.server_context(TlsServer("edge")) is not before
    assert keys.identity("other").certificate.exists()
