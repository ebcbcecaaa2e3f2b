"""The laws over a few hundred cases, in shards that run side by side; `python -m tests.properties` tries more."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from tests.properties import laws
from tests.properties.cases import cases, mishaps
from tests.properties.trying import try_out

pytestmark = pytest.mark.timeout(600)  # shrinking what fails takes longer than finding it


@pytest.mark.parametrize("number", range(4))
def test_both_ends_come_to_the_path_that_the_oracle_names(number: int) -> None:
    try_out(laws.check, cases(), number=number, count=80)


@pytest.mark.parametrize("number", range(4))
def test_whatever_dies_both_ends_live_on_or_both_give_up(number: int) -> None:
    try_out(laws.check, cases(mishaps), number=number, count=40)


def test_the_same_case_is_the_same_trace() -> None:
    try_out(laws.same_again, cases(st.none() | mishaps), number=0, count=20)
