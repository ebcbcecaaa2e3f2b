"""Two user agents joined by a small network, each the other's outbound proxy."""

from __future__ import annotations

import random

import pytest

from iceway.core.address import Address, Transport
from iceway.sip.endpoint import Target
from iceway.sip.useragent import (
    Confirmed,
    Incoming,
    UserAgent,
    UserAgentConfig,
)
from tests.sip.sip_net import Net

ALICE, BOB = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060)
OFFER, ANSWER = b"v=0 offer", b"v=0 answer"

both_transports = pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])


class Phones:
    """Alice and Bob, each the other's outbound proxy."""

    def __init__(self, transport: Transport = Transport.UDP, seed: int = 1, **config: float) -> None:
        self.net = Net()
        self.alice = UserAgent("alice", self._config("alice", BOB, transport, **config), random.Random(seed))
        self.bob = UserAgent("bob", self._config("bob", ALICE, transport, **config), random.Random(seed + 1))
        self.a = self.net.add("alice", self.alice, ALICE.ip)
        self.b = self.net.add("bob", self.bob, BOB.ip)
        for agent in (self.alice, self.bob):
            agent.listen(transport, Address("0.0.0.0", 5060), self.net.now)
        self.net.run(0)

    @staticmethod
    def _config(user: str, peer: Address, transport: Transport, **config: float) -> UserAgentConfig:
        return UserAgentConfig(f"sip:{user}@example.test", outbound=(Target(peer, transport),), **config)  # type: ignore[arg-type]

    def calls(self, offer: bytes | None = OFFER) -> str:
        call = self.alice.invite("sip:bob@example.test", offer, self.net.now)
        self.net.run(0.1)
        return call

    @property
    def bobs(self) -> str:
        return self.b.seen(Incoming)[-1].call

    def answered(self) -> str:
        """A call set up and confirmed; gives Alice's id of it."""
        call = self.calls()
        self.bob.accept(self.bobs, ANSWER, self.net.now)
        self.net.run(0.1)
        assert self.b.seen(Confirmed)
        return call

    def run(self, seconds: float = 0.1) -> None:
        self.net.run(seconds)
