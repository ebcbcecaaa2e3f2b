"""Three people who call, hold, transfer, join and hang up as chance will have it: both ends of every call agree on it,
every transfer comes to an end, and nothing stays behind."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import Random

import pytest

from iceway.core.errors import UsageError
from iceway.lab import topologies
from iceway.lab.office import VirtualPerson
from iceway.media.files import ToneSource
from tests.e2e.test_transfers import TONES, Company

STEPS = 25


@pytest.mark.parametrize("seed", range(2))
def test_whatever_three_people_do(seed: int) -> None:
    chance = Random(seed)
    company = Company(topologies.one_lan())
    for _ in range(STEPS):
        with suppress(UsageError):  # what cannot be is said, and changes nothing
            something(company, chance)
        company.passes(chance.choice([0.0, 0.01, 0.05, 0.2, 1.0, 3.0]))
    company.passes(3.0)
    for person in company.people:
        for name in [
            name for name, call in person.phone.calls.items() if call.incoming and not call.answered
        ]:
            person.refuses(name)
    company.passes(5.0)
    ends = Counter(call.call_id for person in company.people for call in person.phone.calls.values())
    assert set(ends.values()) <= {2}, "who is in a call is in it with somebody"
    for person in company.people:
        assert all(call.answered for call in person.phone.calls.values())
        assert not person.phone._transfers._leaving
        assert not person.phone._transfers._coming
    company.over()


def something(company: Company, chance: Random) -> None:
    person = chance.choice(company.people)
    calls = person.phone.calls
    answered = [name for name, call in calls.items() if call.answered]
    match chance.choice(["call", "pick up", "transfer", "transfer", "join", "hold", "resume", "hang up"]):
        case "call" if len(calls) < 3:
            peer: VirtualPerson = chance.choice([one for one in company.people if one is not person])
            person.calls(peer.name, ToneSource(TONES[person.name]))
        case "pick up":
            for name in [name for name, call in calls.items() if call.incoming and not call.answered]:
                person.picks_up(name)
        case "transfer" if answered:
            company.transfers(person, chance.choice(answered), chance.choice([*TONES, "nobody"]))
        case "join" if len(answered) > 1:
            company.does(person, person.phone.join, *chance.sample(answered, 2))
        case "hold" | "resume" as wish if answered:
            company.does(person, person.phone.hold, chance.choice(answered), wish == "hold")
        case "hang up" if calls and chance.random() < 0.4:
            person.hangs_up(chance.choice(list(calls)))
