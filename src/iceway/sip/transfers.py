"""Calls that are passed on: the commands of a user agent for REFER (RFC 3515) and Replaces (RFC 3891).

A call that replaces another is taken only from the connection to our own server, which proves who calls; over any
other way somebody who overheard the tags could take a call over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from iceway.core.errors import ParseError, UsageError
from iceway.sip.incoming import IncomingCall
from iceway.sip.outgoing import OutgoingCall
from iceway.wire.sip import NameAddr, Request, SipUri
from iceway.wire.sip.transfer import ReferTo, Replaces

if TYPE_CHECKING:
    from iceway.sip.dialog import Dialog

AnyCall = IncomingCall | OutgoingCall


class Transfers:
    """See the module's law. `find` gives a call by its id, `of_dialog` by a dialog's names."""

    def __init__(
        self,
        find: Callable[[str, float], AnyCall | None],
        of_dialog: Callable[[tuple[str, str, str]], tuple[AnyCall, Dialog] | None],
        is_ours: Callable[[str], bool],
    ) -> None:
        """`is_ours` says whether a flow is the one to our server."""
        self._find = find
        self._of_dialog = of_dialog
        self._is_ours = is_ours

    # --- commands -------------------------------------------------------------------------------------
    def refer(self, call: str, target: str, now: float) -> None:
        """Ask the other side to call somebody instead (blind transfer). `ReferralProgress` tells how it gets on."""
        try:
            address = NameAddr.parse(target)
            wanted = ReferTo(NameAddr(str(address.sip), address.display))
        except ParseError as error:
            raise UsageError(f"cannot transfer to {target!r}: {error}") from error
        self._refer(call, wanted, now)

    def join(self, call: str, other: str, now: float) -> None:
        """Ask the other side of `call` to take our place in `other` (attended transfer)."""
        found = self._find(other, now)
        if found is None or found.is_over or found.dialog is None or not found.may("refer"):
            raise UsageError(f"{other} is no call that somebody could be transferred to")
        dialog = found.dialog
        place = Replaces(dialog.call_id, dialog.remote.tag or "", dialog.local.tag or "")
        self._refer(call, ReferTo(NameAddr(_reachable(dialog, found.remote.uri)), place), now)

    def accept(self, call: str, now: float) -> None:
        """Carry out what a `Referred` asked for; `report` what comes of it."""
        if (found := self._find(call, now)) is not None:
            found.referrals.accept(now)

    def refuse(self, call: str, status: int, now: float) -> None:
        if (found := self._find(call, now)) is not None:
            found.referrals.refuse(status, now)

    def report(self, call: str, status: int, reason: str, now: float) -> None:
        if (found := self._find(call, now)) is not None:
            found.referrals.report(status, reason, now)

    def _refer(self, call: str, target: ReferTo, now: float) -> None:
        found = self._find(call, now)
        if found is not None and found.may("refer") and found.dialog is not None:
            found.referrals.refer(found.dialog, target, now, later=found.is_reinviting)

    # --- an INVITE that replaces a call -----------------------------------------------------------------
    def replaced(self, request: Request, flow: str) -> tuple[str, int]:
        """The call that an INVITE is to replace, if any, and else why it cannot (RFC 3891 §3). Raises ParseError."""
        values = request.headers.all("Replaces")
        if not values:
            return "", 0
        if len(values) > 1:
            return "", 400
        if not self._is_ours(flow):
            return "", 403
        wanted = Replaces.parse(values[0])
        found = self._of_dialog((wanted.call_id, wanted.to_tag, wanted.from_tag))
        if found is None:
            return "", 481
        call, _ = found
        if call.is_over:
            return "", 603
        if isinstance(call, IncomingCall) and not call.is_answered:
            return "", 481  # early: only whoever made the call can give it up for another
        return ("", 486) if wanted.early_only and call.dialog is not None else (call.key, 0)


def _reachable(dialog: Dialog, address: str) -> str:
    """Where a stranger reaches the very device at the other end: its GRUU (RFC 5627), if it has one. Else its user, all
    of whose devices are asked; the others do not know the call (481)."""
    try:
        contact = SipUri.parse(dialog.remote_target)
    except ParseError:
        return address
    return dialog.remote_target if contact.params.has("gr") else address
