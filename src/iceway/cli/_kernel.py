"""The right to build kernel networks, for commands that want them."""

from __future__ import annotations

import os
import signal
import sys


def gain_rights() -> None:
    """Go on with that right; where only a user namespace gives it, by starting this command again inside one.

    Whatever ends the command from now on unwinds it, so that what runs in its networks ends as well. Raises
    EnvironmentFailure where there is no such right.
    """
    from iceway.lab.namespaces import launcher

    if prefix := launcher():
        sys.stdout.flush()
        os.execvp(prefix[0], [*prefix, sys.executable, "-m", "iceway", *sys.argv[1:]])
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
