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
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.properties.trying import batch

BATCH = 100
CASES = {"nightly": 20_000}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 500)


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
