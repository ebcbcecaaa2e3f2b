"""Many cases at once: `python -m tests.properties --cases 20000 --jobs 4`.

They are tried in batches, in processes of their own. Each line names the batch's seed, and `--seed` begins there again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.properties import laws
from tests.properties.cases import Case, cases, mishaps

BATCH = 100
CASES = {"nightly": 20_000}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 500)


def batch(number: int, count: int) -> tuple[int, str]:
    """So many cases of one seed: how many were tried, and what broke a law, if anything did."""
    tried = 0

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(st.none() | mishaps))
    def law_holds(case: Case) -> None:
        nonlocal tried
        tried += 1
        laws.check(case)

    try:
        law_holds()
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", []))
        return tried, f"{traceback.format_exc(limit=-3)}\n{notes}"
    return tried, ""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.properties", description=__doc__)
    arguments.add_argument("--cases", type=int, default=CASES)
    arguments.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = arguments.parse_args()
    seeds = range(asked.seed, asked.seed - (-asked.cases // BATCH))
    began, done, broken = time.monotonic(), 0, 0
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as pool:
        batches = {pool.submit(batch, number, BATCH): number for number in seeds}
        for finished in as_completed(batches):
            tried, failure = finished.result()
            done, broken = done + tried, broken + bool(failure)
            took = time.monotonic() - began
            say(
                f"seed {batches[finished]}: {done} cases in {took:.0f} s, {broken or 'no'} batches broke a law"
            )
            if failure:
                say(failure)
    return 1 if broken else 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
