"""The four transaction machines of RFC 3261 §17, with the Accepted states of RFC 6026, as tables.

`TABLES[kind][state, event]` gives the next state and what to do; a pair that is not there does nothing.
`TIMERS[kind][state]` says which timers run in a state: entering it starts those that do not run yet and
stops all others. `Transaction` keeps a state and walks the table; whoever owns it (the endpoint) carries out
the actions and runs the timers. Over a reliable transport nothing is retransmitted and the timers that only
wait for stray copies last no time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from iceway.wire.sip import Request, Response

T1 = 0.5  # RFC 3261 §17.1.1.1: estimate of the round trip
T2 = 4.0  # RFC 3261 §17.1.2.2: longest interval between retransmissions
T4 = 5.0  # RFC 3261 §17.1.2.2: longest life of a message in the network
TIMEOUT = 64 * T1
TRYING_AFTER = 0.2  # RFC 3261 §17.2.1: a 100 goes out if nobody has answered by then
TIMER_D = 32.0  # RFC 3261 §17.1.1.2


class Kind(Enum):
    INVITE_CLIENT = "INVITE client"
    CLIENT = "client"
    INVITE_SERVER = "INVITE server"
    SERVER = "server"


class State(Enum):
    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    ACCEPTED = "Accepted"
    TERMINATED = "Terminated"


class Timer(Enum):
    A = "A: retransmit the INVITE"
    B = "B: give up the INVITE"
    D = "D: await copies of the failure"
    E = "E: retransmit the request"
    F = "F: give up the request"
    G = "G: retransmit the failure"
    H = "H: give up waiting for ACK"
    I = "I: await copies of the ACK"  # noqa: E741 (the RFC's letter)
    J = "J: await copies of the request"
    K = "K: await copies of the response"
    L = "L: await copies of the INVITE, accepted"
    M = "M: await more 2xx"
    TRYING = "say 100 Trying"
    ABANDONED = "nobody answers any more"


class Happening(Enum):
    """Events that are not timers: what came from the network, what the user said, what broke."""

    PROVISIONAL = "1xx received"
    SUCCESS = "2xx received"
    FAILURE = "3xx-6xx received"
    REQUEST = "request received again"
    ACK = "ACK received"
    SEND_PROVISIONAL = "1xx to send"
    SEND_SUCCESS = "2xx to send"
    SEND_FAILURE = "3xx-6xx to send"
    BROKEN = "transport failed"
    CANCEL_UNANSWERED = "no final response long after CANCEL"


Event = Timer | Happening


class Action(Enum):
    SEND = "send the response given"
    RESEND = "send the last message again"
    ACKNOWLEDGE = "send ACK for the failure"
    DELIVER = "hand the message to the user"
    SAY_TRYING = "send 100 Trying"
    TIMED_OUT = "tell the user: timeout"
    FAILED = "tell the user: transport failed"


Table = dict[tuple[State, Event], tuple[State, tuple[Action, ...]]]

INVITE_CLIENT: Table = {  # RFC 3261 figure 5, RFC 6026 §8.4
    (State.CALLING, Timer.A): (State.CALLING, (Action.RESEND,)),
    (State.CALLING, Timer.B): (State.TERMINATED, (Action.TIMED_OUT,)),
    (State.CALLING, Happening.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.CALLING, Happening.SUCCESS): (State.ACCEPTED, (Action.DELIVER,)),
    (State.CALLING, Happening.FAILURE): (State.COMPLETED, (Action.ACKNOWLEDGE, Action.DELIVER)),
    (State.CALLING, Happening.BROKEN): (State.TERMINATED, (Action.FAILED,)),
    (State.PROCEEDING, Happening.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.PROCEEDING, Happening.SUCCESS): (State.ACCEPTED, (Action.DELIVER,)),
    (State.PROCEEDING, Happening.FAILURE): (State.COMPLETED, (Action.ACKNOWLEDGE, Action.DELIVER)),
    (State.PROCEEDING, Happening.BROKEN): (State.TERMINATED, (Action.FAILED,)),
    (State.PROCEEDING, Happening.CANCEL_UNANSWERED): (State.TERMINATED, (Action.TIMED_OUT,)),
    (State.COMPLETED, Happening.FAILURE): (State.COMPLETED, (Action.ACKNOWLEDGE,)),
    (State.COMPLETED, Happening.BROKEN): (State.TERMINATED, ()),
    (State.COMPLETED, Timer.D): (State.TERMINATED, ()),
    (State.ACCEPTED, Happening.SUCCESS): (State.ACCEPTED, (Action.DELIVER,)),
    (State.ACCEPTED, Timer.M): (State.TERMINATED, ()),
}

CLIENT: Table = {  # RFC 3261 figure 6
    (State.TRYING, Timer.E): (State.TRYING, (Action.RESEND,)),
    (State.TRYING, Timer.F): (State.TERMINATED, (Action.TIMED_OUT,)),
    (State.TRYING, Happening.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.TRYING, Happening.SUCCESS): (State.COMPLETED, (Action.DELIVER,)),
    (State.TRYING, Happening.FAILURE): (State.COMPLETED, (Action.DELIVER,)),
    (State.TRYING, Happening.BROKEN): (State.TERMINATED, (Action.FAILED,)),
    (State.PROCEEDING, Timer.E): (State.PROCEEDING, (Action.RESEND,)),
    (State.PROCEEDING, Timer.F): (State.TERMINATED, (Action.TIMED_OUT,)),
    (State.PROCEEDING, Happening.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.PROCEEDING, Happening.SUCCESS): (State.COMPLETED, (Action.DELIVER,)),
    (State.PROCEEDING, Happening.FAILURE): (State.COMPLETED, (Action.DELIVER,)),
    (State.PROCEEDING, Happening.BROKEN): (State.TERMINATED, (Action.FAILED,)),
    (State.COMPLETED, Timer.K): (State.TERMINATED, ()),
}

INVITE_SERVER: Table = {  # RFC 3261 figure 7, RFC 6026 §8.5
    (State.PROCEEDING, Happening.REQUEST): (State.PROCEEDING, (Action.RESEND,)),
    (State.PROCEEDING, Timer.TRYING): (State.PROCEEDING, (Action.SAY_TRYING,)),
    (State.PROCEEDING, Happening.SEND_PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Happening.SEND_SUCCESS): (State.ACCEPTED, (Action.SEND,)),
    (State.PROCEEDING, Happening.SEND_FAILURE): (State.COMPLETED, (Action.SEND,)),
    (State.PROCEEDING, Happening.BROKEN): (State.TERMINATED, (Action.FAILED,)),
    (State.COMPLETED, Happening.REQUEST): (State.COMPLETED, (Action.RESEND,)),
    (State.COMPLETED, Timer.G): (State.COMPLETED, (Action.RESEND,)),
    (State.COMPLETED, Happening.ACK): (State.CONFIRMED, ()),
    (State.COMPLETED, Timer.H): (State.TERMINATED, (Action.TIMED_OUT,)),
    (State.COMPLETED, Happening.BROKEN): (State.TERMINATED, ()),
    (State.CONFIRMED, Timer.I): (State.TERMINATED, ()),
    (State.ACCEPTED, Happening.SEND_SUCCESS): (State.ACCEPTED, (Action.SEND,)),
    (State.ACCEPTED, Happening.ACK): (State.ACCEPTED, (Action.DELIVER,)),
    (State.ACCEPTED, Timer.L): (State.TERMINATED, ()),
}

SERVER: Table = {  # RFC 3261 figure 8
    (State.TRYING, Happening.SEND_PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.TRYING, Happening.SEND_SUCCESS): (State.COMPLETED, (Action.SEND,)),
    (State.TRYING, Happening.SEND_FAILURE): (State.COMPLETED, (Action.SEND,)),
    (State.TRYING, Happening.BROKEN): (State.TERMINATED, (Action.FAILED,)),
    (State.TRYING, Timer.ABANDONED): (State.TERMINATED, ()),
    (State.PROCEEDING, Happening.REQUEST): (State.PROCEEDING, (Action.RESEND,)),
    (State.PROCEEDING, Happening.SEND_PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Happening.SEND_SUCCESS): (State.COMPLETED, (Action.SEND,)),
    (State.PROCEEDING, Happening.SEND_FAILURE): (State.COMPLETED, (Action.SEND,)),
    (State.PROCEEDING, Happening.BROKEN): (State.TERMINATED, (Action.FAILED,)),
    (State.PROCEEDING, Timer.ABANDONED): (State.TERMINATED, ()),
    (State.COMPLETED, Happening.REQUEST): (State.COMPLETED, (Action.RESEND,)),
    (State.COMPLETED, Happening.BROKEN): (State.TERMINATED, ()),
    (State.COMPLETED, Timer.J): (State.TERMINATED, ()),
}

TABLES: dict[Kind, Table] = {
    Kind.INVITE_CLIENT: INVITE_CLIENT,
    Kind.CLIENT: CLIENT,
    Kind.INVITE_SERVER: INVITE_SERVER,
    Kind.SERVER: SERVER,
}

TIMERS: dict[Kind, dict[State, tuple[Timer, ...]]] = {
    Kind.INVITE_CLIENT: {
        State.CALLING: (Timer.A, Timer.B),
        State.COMPLETED: (Timer.D,),
        State.ACCEPTED: (Timer.M,),
    },
    Kind.CLIENT: {
        State.TRYING: (Timer.E, Timer.F),
        State.PROCEEDING: (Timer.E, Timer.F),
        State.COMPLETED: (Timer.K,),
    },
    Kind.INVITE_SERVER: {
        State.PROCEEDING: (Timer.TRYING,),
        State.COMPLETED: (Timer.G, Timer.H),
        State.CONFIRMED: (Timer.I,),
        State.ACCEPTED: (Timer.L,),
    },
    Kind.SERVER: {
        State.TRYING: (Timer.ABANDONED,),
        State.PROCEEDING: (Timer.ABANDONED,),
        State.COMPLETED: (Timer.J,),
    },
}

OWN_TIMERS: dict[Kind, tuple[Timer, ...]] = {
    kind: tuple(dict.fromkeys(timer for timers in states.values() for timer in timers))
    for kind, states in TIMERS.items()
}

FIRST_STATE = {
    Kind.INVITE_CLIENT: State.CALLING,
    Kind.CLIENT: State.TRYING,
    Kind.INVITE_SERVER: State.PROCEEDING,
    Kind.SERVER: State.TRYING,
}

_RETRANSMITTING = {Timer.A, Timer.E, Timer.G}
_ABSORBING = {Timer.D: TIMER_D, Timer.I: T4, Timer.J: TIMEOUT, Timer.K: T4}
_FIRST = {
    Timer.A: T1,
    Timer.E: T1,
    Timer.G: T1,
    Timer.TRYING: TRYING_AFTER,
    Timer.B: TIMEOUT,
    Timer.F: TIMEOUT,
    Timer.H: TIMEOUT,
    Timer.L: TIMEOUT,
    Timer.M: TIMEOUT,
    Timer.ABANDONED: 3 * TIMEOUT,
}


@dataclass(slots=True)
class Transaction:
    """One transaction: its place in the table and the messages it repeats.

    `request` is the request as sent (its Via included) or as received; `response` the last one sent, for a
    server. `flow` is where its messages travel.
    """

    id: str
    kind: Kind
    request: Request
    flow: str
    reliable: bool
    state: State = field(init=False)
    response: Response | None = None
    wire: bytes = b""
    branch: str = ""
    cancelled: bool = False
    cancel_reason: str | None = None
    cancel_sent: bool = False
    failure: str = ""
    retransmissions: int = 0

    def __post_init__(self) -> None:
        self.state = FIRST_STATE[self.kind]

    @property
    def is_client(self) -> bool:
        return self.kind in (Kind.INVITE_CLIENT, Kind.CLIENT)

    @property
    def awaits_final(self) -> bool:
        """No final response yet, in either direction."""
        return self.state in (State.CALLING, State.TRYING, State.PROCEEDING)

    def step(self, event: Event) -> tuple[Action, ...]:
        """Walk the table: change state, say what to do. Nothing for an event the state does not know."""
        self.state, actions = TABLES[self.kind].get((self.state, event), (self.state, ()))
        return actions

    def timers(self) -> dict[Timer, float]:
        """The timers that run in this state, with how long each lasts when started now."""
        running = TIMERS[self.kind].get(self.state, ())
        return {timer: self.interval(timer) for timer in running if self._runs(timer)}

    def interval(self, timer: Timer) -> float:
        """How long a timer lasts. Retransmissions back off: A doubles, E and G double up to T2."""
        if timer in _ABSORBING:
            return 0.0 if self.reliable else _ABSORBING[timer]
        if timer not in _RETRANSMITTING:
            return _FIRST[timer]
        if timer is Timer.E and self.state is State.PROCEEDING:
            return T2
        doubled: float = T1 * 2.0**self.retransmissions
        return doubled if timer is Timer.A else min(doubled, T2)

    def _runs(self, timer: Timer) -> bool:
        if timer in _RETRANSMITTING:
            return not self.reliable
        # Once somebody has answered there is nothing left to say 100 for.
        return timer is not Timer.TRYING or self.response is None


def happening(response: Response, sending: bool) -> Happening:
    """The event that a response is, for the side that sends or receives it."""
    if response.is_provisional:
        return Happening.SEND_PROVISIONAL if sending else Happening.PROVISIONAL
    if response.is_success:
        return Happening.SEND_SUCCESS if sending else Happening.SUCCESS
    return Happening.SEND_FAILURE if sending else Happening.FAILURE
