"""The fuzz targets themselves, for a moment each; `make fuzz` gives them an hour."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import stun
from tests.fuzz.__main__ import TARGETS

MODULES = [importlib.import_module(f"tests.fuzz.{name}") for name in TARGETS]


@pytest.mark.parametrize("target", MODULES, ids=TARGETS)
def test_seeds_and_what_was_found_once_pass(target: ModuleType) -> None:
    for data in (*target.seeds(), *target.FOUND):
        target.check(data)


@settings(max_examples=100)
@given(st.binary(max_size=300), st.sampled_from(MODULES), st.integers(0, 20), st.integers(0, 400))
def test_changed_seeds_pass(data: bytes, target: ModuleType, which: int, at: int) -> None:
    seeds = list(target.seeds())
    seed = seeds[which % len(seeds)]
    target.check(data)
    target.check(seed[:at] + data[:4] + seed[at + 4 :])
    target.check(seed[:at] + data + seed[at:])


def test_a_parser_that_breaks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    good = stun.stun.parse

    def forgetful(data: bytes) -> stun.StunMessage:
        message = good(data)
        return stun.StunMessage(message.method, message.message_class, message.transaction_id, raw=data)

    monkeypatch.setattr(stun.stun, "parse", forgetful)
    with pytest.raises(AssertionError):
        stun.check(next(stun.seeds()))
