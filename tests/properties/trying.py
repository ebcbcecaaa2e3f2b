"""Trying a law on many cases of one seed. Hypothesis draws and shrinks them."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.properties import laws
from tests.properties.cases import Case, cases, mishaps


def try_out(
    law: Callable[[Case], object], strategy: st.SearchStrategy[Case], *, number: int, count: int
) -> None:
    """Raises what the law raises of the simplest case that breaks it, with the case in the notes."""

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def law_holds(case: Case) -> None:
        law(case)

    law_holds()


def batch(number: int, count: int) -> tuple[int, str]:
    """So many cases of one seed, every third with a mishap: how many were tried, and what broke a law, if any did."""
    tried = 0

    def counted(case: Case) -> None:
        nonlocal tried
        tried += 1
        laws.check(case)

    try:
        try_out(counted, cases(st.none() | mishaps), number=number, count=count)
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", []))
        return tried, f"{traceback.format_exc(limit=-3)}\n{notes}"
    return tried, ""
