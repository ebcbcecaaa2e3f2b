"""The registrar of RFC 3261 §10.3: who can be reached where, with the way back (Path, RFC 3327) and several
flows a device (RFC 5626 §6).

A REGISTER is judged whole before anything is stored: either all of its bindings change or none does. Instants
here are wall time, because bindings outlive the process. Whoever calls has already authenticated the request
and settled that it is for this domain and that the user may register the address in To.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from iceway.core.errors import ParseError
from iceway.trace.records import Record, Registered, Unregistered
from iceway.wire.sip import NameAddr, Request, Response, SipUri, make_response, quote

_NEVER_STORED = ("expires", "q", "pub-gruu", "temp-gruu")


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of an address of record. `contact` is its full address with parameters, without expiry."""

    aor: str
    contact: str
    call_id: str
    cseq: int
    expires_at: float
    path: tuple[str, ...] = ()
    q: float = 1.0
    instance: str | None = None
    reg_id: int | None = None
    outside: bool = False
    user_agent: str = ""
    updated_at: float = 0.0

    @property
    def uri(self) -> str:
        return NameAddr.parse(self.contact).uri


class BindingStore(Protocol):
    """Where bindings live. `replace` is atomic; expired bindings may linger, the registrar overlooks them."""

    def bindings(self, aor: str) -> list[Binding]: ...

    def replace(self, aor: str, bindings: Sequence[Binding]) -> None: ...

    def take_expired(self, wall_now: float) -> list[Binding]: ...

    def next_expiry(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class RegistrarConfig:
    default_expires: int = 3600
    min_expires: int = 60
    max_expires: int = 7200
    max_bindings: int = 10
    """A user's devices and flows; more in one address of record are refused."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a REGISTER and what it changed. `bindings` are those in force afterwards."""

    response: Response
    records: tuple[Record, ...] = ()
    bindings: tuple[Binding, ...] = ()


class Registrar:
    def __init__(self, store: BindingStore, config: RegistrarConfig | None = None) -> None:
        self._store = store
        self._config = config or RegistrarConfig()

    def register(self, request: Request, *, outside: bool, to_tag: str, wall_now: float) -> Outcome:
        """Carry out a REGISTER, or refuse it; never raises for anything in the request."""
        try:
            return self._register(request, outside, to_tag, wall_now)
        except _RefusedError as refusal:
            response = make_response(request, refusal.status, refusal.reason, to_tag=to_tag)
            for name, value in refusal.headers:
                response = response.with_header(name, value)
            return Outcome(response)
        except ParseError as error:
            return Outcome(make_response(request, 400, f"Bad Request: {error}"[:200], to_tag=to_tag))

    def lookup(self, uri: SipUri, wall_now: float) -> list[list[Binding]]:
        """The bindings to try for a Request-URI: a list for each device, best device first, newest flow first.

        One flow of a device is tried at a time (RFC 5626 §5.3). A public GRUU (`;gr=`) reaches the device it
        names and no other.
        """
        aor = address_of_record(uri)
        alive = [binding for binding in self._store.bindings(aor) if binding.expires_at > wall_now]
        if device := uri.param("gr"):
            alive = [binding for binding in alive if binding.instance == device]
        alive.sort(key=lambda binding: (-binding.q, -binding.updated_at))
        devices: dict[str, list[Binding]] = {}
        for binding in alive:
            is_flow = binding.instance is not None and binding.reg_id is not None
            devices.setdefault(f"device {binding.instance}" if is_flow else binding.contact, []).append(
                binding
            )
        return list(devices.values())

    def forget(self, binding: Binding, reason: str) -> tuple[Record, ...]:
        """Drop a binding whose flow has failed (RFC 5626 §5.3: a 430 removes it), if it has not changed since."""
        bindings = self._store.bindings(binding.aor)
        if binding not in bindings:
            return ()
        self._store.replace(binding.aor, [other for other in bindings if other != binding])
        return (Unregistered(binding.aor, binding.uri, reason),)

    def expire(self, wall_now: float) -> tuple[Record, ...]:
        """Drop what has run out."""
        return tuple(
            Unregistered(binding.aor, binding.uri, "expired")
            for binding in self._store.take_expired(wall_now)
        )

    def next_expiry(self) -> float | None:
        return self._store.next_expiry()

    # --- the steps of §10.3 ---------------------------------------------------------------------------
    def _register(self, request: Request, outside: bool, to_tag: str, wall_now: float) -> Outcome:
        aor = address_of_record(request.to.sip)
        before = [binding for binding in self._store.bindings(aor) if binding.expires_at > wall_now]
        path = tuple(str(address) for address in request.addresses("Path"))
        if request.contact_is_star:
            after = self._remove_all(request, before)
        else:
            outbound = _uses_outbound(request)
            after = list(before)
            most = max(self._config.max_bindings, len(before))
            too_many = _RefusedError(403, f"More than {self._config.max_bindings} contacts for one address")
            if len(request.contacts) > most:
                raise too_many  # before each is compared with each
            for contact in request.contacts:
                fresh = self._binding(aor, request, contact, path, outside, outbound, wall_now)
                after = _with_binding(after, fresh, wall_now)
            if len(after) > most:
                raise too_many
        if after != before:
            self._store.replace(aor, after)
        records = _changes(before, after, wall_now)
        return Outcome(self._response(request, after, path, to_tag, wall_now), records, tuple(after))

    def _remove_all(self, request: Request, before: list[Binding]) -> list[Binding]:
        if request.expires != 0:
            raise _RefusedError(400, "Contact * needs Expires: 0")
        for binding in before:
            _check_order(binding, request)
        return []

    def _binding(
        self,
        aor: str,
        request: Request,
        contact: NameAddr,
        path: tuple[str, ...],
        outside: bool,
        outbound: bool,
        wall_now: float,
    ) -> Binding:
        _ = contact.sip  # a contact that is no SIP URI cannot be routed to
        wanted = contact.expires
        if wanted is None:
            wanted = request.expires
        if wanted is None:
            wanted = self._config.default_expires
        if 0 < wanted < self._config.min_expires:
            raise _RefusedError(423, None, ("Min-Expires", str(self._config.min_expires)))
        params = contact.params
        for name in _NEVER_STORED:
            params = params.without(name)
        return Binding(
            aor=aor,
            contact=str(replace(contact, params=params, display="")),
            call_id=request.call_id,
            cseq=request.cseq.number,
            expires_at=wall_now + min(wanted, self._config.max_expires),
            path=path,
            q=contact.q,
            instance=contact.instance,
            reg_id=contact.reg_id if outbound and contact.instance else None,
            outside=outside,
            user_agent=(request.headers.get("User-Agent") or "")[:200],
            updated_at=wall_now,
        )

    def _response(
        self,
        request: Request,
        bindings: Iterable[Binding],
        path: tuple[str, ...],
        to_tag: str,
        wall_now: float,
    ) -> Response:
        response = make_response(request, 200, to_tag=to_tag)
        for binding in bindings:
            contact = NameAddr.parse(binding.contact)
            if binding.q != 1.0:
                contact = contact.with_param("q", f"{binding.q:g}")
            if binding.instance and request.supports("gruu"):
                # RFC 5627 §5: by which everybody reaches this device, as long as it is registered.
                gruu = SipUri.parse(binding.aor).with_param("gr", binding.instance)
                contact = contact.with_param("pub-gruu", quote(str(gruu)))
            left = max(1, round(binding.expires_at - wall_now))
            response = response.with_last("Contact", str(contact.with_param("expires", str(left))))
        if path and request.supports("path"):
            for value in path:
                response = response.with_last("Path", value)
        if _uses_outbound(request):
            response = response.with_last("Require", "outbound")
        date = datetime.fromtimestamp(wall_now, UTC)
        return response.with_last("Date", date.strftime("%a, %d %b %Y %H:%M:%S GMT"))


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str | None, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


def address_of_record(uri: SipUri) -> str:
    """The key of a user: sip and sips name the same one here, since every way to a user is as secure."""
    return replace(uri, scheme="sip").aor


def _uses_outbound(request: Request) -> bool:
    """Whether flows are to be kept apart by reg-id (RFC 5626 §6). Refuses what the first hop cannot do."""
    flows = [contact for contact in request.contacts if contact.instance and contact.reg_id is not None]
    if not flows or not request.supports("outbound"):
        return False
    if len(request.contacts) > 1:
        raise _RefusedError(400, "A REGISTER for a flow (reg-id) carries exactly one contact")
    path = request.addresses("Path")
    if path and path[-1].sip.param("ob") is None:
        raise _RefusedError(439, None)
    return True


def _with_binding(bindings: list[Binding], fresh: Binding, wall_now: float) -> list[Binding]:
    """The list with one contact added, refreshed or (expired at once) removed."""
    kept = []
    replaced = False
    for old in bindings:
        if not _same_contact(old, fresh):
            kept.append(old)
            continue
        if old.call_id == fresh.call_id and fresh.cseq <= old.cseq:
            raise _RefusedError(400, f"CSeq {fresh.cseq} is not above {old.cseq}, which came before")
        if not replaced and fresh.expires_at > wall_now:
            kept.append(fresh)
        replaced = True
    if not replaced and fresh.expires_at > wall_now:
        kept.append(fresh)
    return kept


def _same_contact(old: Binding, fresh: Binding) -> bool:
    if fresh.reg_id is not None or old.reg_id is not None:
        return (old.instance, old.reg_id) == (fresh.instance, fresh.reg_id)
    return SipUri.parse(old.uri).matches(SipUri.parse(fresh.uri))


def _check_order(old: Binding, request: Request) -> None:
    if old.call_id == request.call_id and request.cseq.number <= old.cseq:
        raise _RefusedError(400, f"CSeq {request.cseq.number} is not above {old.cseq}, which came before")


def _changes(before: list[Binding], after: list[Binding], wall_now: float) -> tuple[Record, ...]:
    records: list[Record] = [
        Registered(
            aor=binding.aor,
            contact=binding.uri,
            expires=round(binding.expires_at - wall_now, 3),
            path=binding.path,
            outside=binding.outside,
        )
        for binding in after
        if binding not in before
    ]
    records.extend(
        Unregistered(binding.aor, binding.uri, "removed by its owner")
        for binding in before
        if not any(_same_contact(binding, other) for other in after)
    )
    return tuple(records)
