"""Calls that replace others (RFC 3891): named rightly, by the right one, in the right phase; and attended transfers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iceway.core.address import Transport
from iceway.core.errors import UsageError
from iceway.sip.referral import Referred
from iceway.sip.useragent import Ended, Incoming
from iceway.trace.records import SipReceived
from iceway.wire.sip import SipUri
from iceway.wire.sip.transfer import Replaces
from tests.sip.phones import ANSWER, OFFER, Phones, both_transports


def connected(phones: Phones) -> Phones:
    """Bob has a connection to his server, which is Alice here."""
    phones.bob.request_out_of_dialog("OPTIONS", "sip:alice@example.test", phones.net.now)
    phones.run()
    assert phones.bob.uplink is not None
    return phones


def place(phones: Phones) -> Replaces:
    """What Bob's last call is named by."""
    dialog = phones.bob._calls[phones.bobs].dialogs[0]
    return Replaces(dialog.call_id, dialog.local.tag or "", dialog.remote.tag or "")


def replacing(phones: Phones, *values: str) -> None:
    fields = tuple(("Replaces", value) for value in values)
    phones.alice.invite("sip:bob@example.test", OFFER, phones.net.now, (*fields, ("Require", "replaces")))
    phones.run()


def test_a_call_in_the_place_of_another() -> None:
    phones = connected(Phones())
    phones.answered()
    old = phones.bobs
    replacing(phones, str(place(phones)))
    incoming = phones.b.seen(Incoming)[-1]
    assert incoming.replaces == old
    assert phones.b.seen(Incoming)[0].replaces == ""
    phones.bob.accept(incoming.call, ANSWER, phones.net.now)
    phones.bob.hang_up(old, phones.net.now, "replaced")
    phones.run()
    assert [event.call for event in phones.b.seen(Ended)] == [old]


def test_only_our_own_server_may_bring_one() -> None:
    """Over any other connection somebody who overheard the tags could take the call."""
    phones = Phones()
    phones.answered()
    assert phones.bob.uplink is None
    replacing(phones, str(place(phones)))
    assert phones.b.said()[-1] == "403"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"call_id": "another"}, "481"),
        ({"to_tag": "another"}, "481"),
        ({"from_tag": "another"}, "481"),
        ({"early_only": True}, "486"),
    ],
)
def test_what_names_no_call_that_can_be_given_up(change: dict[str, object], status: str) -> None:
    phones = connected(Phones())
    phones.answered()
    named = place(phones)
    replacing(phones, str(replace(named, **change)))  # type: ignore[arg-type]
    assert phones.b.said()[-1] == status
    assert len(phones.b.seen(Incoming)) == 1


def test_the_tags_are_not_to_be_exchanged() -> None:
    phones = connected(Phones())
    phones.answered()
    named = place(phones)
    replacing(phones, f"{named.call_id};to-tag={named.from_tag};from-tag={named.to_tag}")
    assert phones.b.said()[-1] == "481"


@pytest.mark.parametrize("values", [("nonsense",), ("a;to-tag=1;from-tag=2", "b;to-tag=1;from-tag=2")])
def test_what_cannot_be_read(values: tuple[str, ...]) -> None:
    phones = connected(Phones())
    phones.answered()
    replacing(phones, *values)
    assert phones.b.said()[-1] == "400"


def test_a_call_that_is_over_is_replaced_by_none() -> None:
    phones = connected(Phones())
    call = phones.answered()
    named = place(phones)
    phones.alice.bye(call, phones.net.now)
    phones.run()
    replacing(phones, str(named))
    assert phones.b.said()[-1] == "603"


def test_what_rings_is_given_up_by_its_caller_alone() -> None:
    """RFC 3891 §3: an early dialog can be replaced only at the end that made it."""
    phones = connected(Phones())
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now)
    phones.run()
    replacing(phones, str(place(phones)))
    assert phones.b.said()[-1] == "481"

    bobs = phones.bob.invite("sip:alice@example.test", OFFER, phones.net.now)
    phones.run()
    (ringing,) = phones.a.seen(Incoming)
    phones.alice.ring(ringing.call, phones.net.now)
    phones.run()
    dialog = phones.bob._calls[bobs].dialogs[0]
    early = Replaces(dialog.call_id, dialog.local.tag or "", dialog.remote.tag or "", early_only=True)
    replacing(phones, str(early))
    assert phones.b.seen(Incoming)[-1].replaces == bobs


@both_transports
def test_an_attended_transfer_names_the_other_call_as_its_far_end_sees_it(transport: Transport) -> None:
    phones = Phones(transport)
    first, second = phones.answered(), phones.answered()
    phones.alice.transfers.join(first, second, phones.net.now)
    phones.run()
    (referred,) = phones.b.seen(Referred)
    assert referred.target.replaces == place(phones)
    assert referred.target.address.uri == "sip:bob@example.test", "its contact has no name of its own"
    request = next(r.text for r in phones.b.seen(SipReceived) if r.start_line.startswith("REFER"))
    assert "Require=replaces>" in request
    with pytest.raises(UsageError, match="no call that somebody could be transferred to"):
        phones.alice.transfers.join(first, "alice/call.99", phones.net.now)


def test_a_device_that_has_a_name_of_its_own_is_called_by_it() -> None:
    phones = Phones()
    gruu = SipUri.parse("sip:bob@example.test").with_param("gr", "urn:uuid:1")
    phones.bob.registration.gruu = str(gruu)
    first, second = phones.answered(), phones.answered()
    phones.alice.transfers.join(first, second, phones.net.now)
    phones.run()
    assert phones.b.seen(Referred)[0].target.address.uri == str(gruu)
