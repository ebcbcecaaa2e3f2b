"""What the peers that are written in Python share: lines in, lines out. Needs nothing but Python."""

from __future__ import annotations

import json
import sys
import time

GREETING_INTERVAL = 0.02


def tell(**news: object) -> None:
    sys.stdout.write(json.dumps({"at": time.monotonic(), **news}) + "\n")
    sys.stdout.flush()


class Ears:
    """Tells of every text once, however often it comes."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def heard(self, data: bytes) -> None:
        if data not in self._known:
            self._known.add(data)
            tell(heard=data.decode(errors="replace"))


class Meter:
    """CPU seconds of this process since `start`."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._from = time.process_time()

    def tell(self) -> None:
        tell(cpu=time.process_time() - self._from)
