import pytest

from iceway.client.config import PhoneConfig, ServerAddress
from iceway.core.address import Transport
from iceway.core.errors import UsageError
from iceway.io.selfsigned import media_identity
from iceway.media.keying import Keys


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("edge.example.test", ServerAddress("edge.example.test", 5061, Transport.TLS)),
        ("edge.example.test:443", ServerAddress("edge.example.test", 443, Transport.TLS)),
        ("tcp:192.0.2.1", ServerAddress("192.0.2.1", 5060, Transport.TCP)),
        ("udp:192.0.2.1:5070", ServerAddress("192.0.2.1", 5070, Transport.UDP)),
        ("tls:[2001:db8::1]:443", ServerAddress("2001:db8::1", 443, Transport.TLS)),
    ],
)
def test_a_server_is_written_as_people_write_it(text: str, expected: ServerAddress) -> None:
    assert ServerAddress.parse(text) == expected


@pytest.mark.parametrize("text", ["", "tls:", "tls:host:", "tls:host:99999", "tls:host:port"])
def test_a_server_that_is_none_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(UsageError, match="write tls:host:port"):
        ServerAddress.parse(text)


def test_an_identity_is_a_sip_address_and_its_password_stays_out_of_sight() -> None:
    config = PhoneConfig("sip:alice@example.test", "swordfish")
    assert (config.user, config.domain) == ("alice", "example.test")
    assert "swordfish" not in repr(config)
    for wrong in ("alice", "alice@example.test", "sip:@example.test", "sip:alice@", "tel:+1"):
        with pytest.raises(UsageError, match="sip:user@domain"):
            PhoneConfig(wrong, "x")


def test_keys_by_dtls_want_a_certificate_and_nobody_is_known_by_one_who_wants_them_in_sdp() -> None:
    certificate = media_identity()
    with pytest.raises(UsageError, match="need a certificate"):
        PhoneConfig("sip:alice@example.test", "x", keys=Keys.DTLS)
    for keys, known in ((Keys.BOTH, True), (Keys.DTLS, True), (Keys.SDES, False)):
        config = PhoneConfig("sip:alice@example.test", "x", keys=keys, certificate=certificate)
        assert (config.dtls is certificate) is known
    assert PhoneConfig("sip:alice@example.test", "x").dtls is None
