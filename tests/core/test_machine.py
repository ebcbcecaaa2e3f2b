"""The output queue and the little helpers of the machine contract; errors that tell people what to do."""

from __future__ import annotations

from iceway.core.errors import EnvironmentFailure, IcewayError, ParseError, UsageError
from iceway.core.machine import Input, Outbox, drain, earliest


class Parrot(Outbox):
    def handle_input(self, event: Input, now: float) -> None:
        self.emit(event)

    def handle_timeout(self, now: float) -> None:
        self.emit(now)

    def poll_timeout(self) -> float | None:
        return None


def test_outputs_come_in_the_order_they_were_emitted() -> None:
    parrot = Parrot()
    for word in ("one", 2, ("three",)):
        parrot.emit(word)
    assert drain(parrot) == ["one", 2, ("three",)]
    assert parrot.poll_output() is None
    parrot.handle_timeout(4.0)
    assert drain(parrot) == [4.0]


def test_the_earliest_instant_ignores_never() -> None:
    assert earliest() is None
    assert earliest(None, None) is None
    assert earliest(None, 3.0, 0.0, None) == 0.0


def test_an_environment_failure_carries_the_next_step() -> None:
    failure = EnvironmentFailure("nft is not installed", "Install the package nftables.")
    assert str(failure) == "nft is not installed. Install the package nftables."
    assert (failure.cause, failure.remedy) == ("nft is not installed", "Install the package nftables.")
    assert str(EnvironmentFailure("no space left")) == "no space left"
    assert all(issubclass(kind, IcewayError) for kind in (ParseError, UsageError, EnvironmentFailure))
