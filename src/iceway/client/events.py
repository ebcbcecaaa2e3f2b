"""What a client tells the program around it. `call` is the call's name within this client ("call.1").

A call's events end with `CallEnded`; nothing about it comes after that. A call that came in and could not be
answered ends without ever having been an `IncomingCall`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iceway.client.stats import CallStats
from iceway.ice.events import CandidatePath

if TYPE_CHECKING:
    from iceway.client.media import Media


@dataclass(frozen=True, slots=True)
class Ready:
    """Registered, and relay credentials are here (or known not to come: `relay_trouble` says why)."""

    outside: bool
    relay_trouble: str = ""


@dataclass(frozen=True, slots=True)
class RegistrationFailed:
    """`reason` says what to look at. `final`: trying again would not help (wrong password)."""

    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class RegistrationRestored:
    """The registration was lost after `Ready`, and is back."""


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """It rings. `waiting`: while another call is up; `Phone.take` holds that one and answers this.

    `media` is what was given for it.
    """

    call: str
    peer: str
    waiting: bool = False
    media: Media | None = None


@dataclass(frozen=True, slots=True)
class CallTurnedAway:
    """Somebody called who was not let through, since nobody is to be disturbed."""

    peer: str


@dataclass(frozen=True, slots=True)
class CallProgress:
    """180 Ringing, 183 Session Progress and other provisional answers."""

    call: str
    status: int


@dataclass(frozen=True, slots=True)
class CallConnected:
    """Media can flow on a first path, answered or not."""

    call: str
    path: CandidatePath


@dataclass(frozen=True, slots=True)
class CallPathless:
    """Both sides have been looking for `after` seconds and nothing works yet; `tried` says what there was.

    It is no verdict: RFC 8863 wants 39.5 s of patience, and a path may still be found.
    """

    call: str
    after: float
    tried: str


@dataclass(frozen=True, slots=True)
class CallAnswered:
    call: str


@dataclass(frozen=True, slots=True)
class CallPlayed:
    """The call's source gave its last frame; silence follows."""

    call: str


@dataclass(frozen=True, slots=True)
class CallSettled:
    """Both sides named the selected pair in SDP."""

    call: str
    path: CandidatePath


@dataclass(frozen=True, slots=True)
class CallInterrupted:
    """The path died or is about to; ICE restarts. `CallRestored` follows, or the call ends."""

    call: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallKeyless:
    """There are no keys for the sound and there will be none: the call goes on in silence, or is hung up."""

    call: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallRestored:
    """Sound goes on over another path."""

    call: str
    path: CandidatePath


@dataclass(frozen=True, slots=True)
class CallDigit:
    """The other side pressed a telephone key, for so many seconds."""

    call: str
    digit: str
    duration: float


@dataclass(frozen=True, slots=True)
class CallHeld:
    """Who holds the call changed: this end, the other one, both or (resumed) nobody."""

    call: str
    here: bool
    there: bool


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How a transfer that we asked for gets on, as the other side says: 100 Trying, 180 Ringing."""

    call: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class CallTransferred:
    """The other side talks with `to` now; our call ends."""

    call: str
    to: str


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """Nothing came of the transfer: 603 the other side would not, 486 who was to be called is busy. The call goes on."""

    call: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class SuccessorBegun:
    """A call that is to take the place of another, `of`: the other side transfers us to `peer`, or transferred itself.

    When it is answered it takes over what the other played and where that was heard (`SuccessorInPlace`); until then
    the other call goes on, and does so if this one ends.
    """

    call: str
    of: str
    peer: str


@dataclass(frozen=True, slots=True)
class SuccessorInPlace:
    """The call has taken the place of `of`, which ends if it has not."""

    call: str
    of: str


@dataclass(frozen=True, slots=True)
class CallStreams:
    """What the call carries changed; `streams` are those of "audio", "video" and "slides" that it has now."""

    call: str
    streams: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallEnded:
    """`answered`: whether it ever was a call. `stats`: how its streams fared, to the end."""

    call: str
    reason: str
    answered: bool
    stats: CallStats = field(default_factory=CallStats, compare=False)


@dataclass(frozen=True, slots=True)
class Stopped:
    """Everything is said and closed after `stop`."""
