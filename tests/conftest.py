"""What all tests share: hypothesis profiles, seeds, and when the suites that need the outside run.

`@pytest.mark.interop("turnserver", …)` and `@pytest.mark.kernel("nft", …)` name the programs they need. Such
tests run only when asked for (`-m interop`, or their file by name). A program that is missing skips its test
with the package to install; under CI=true it fails the test, since there a skip would go unread.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SUITES = ("interop", "kernel")
PACKAGES = {
    "turnserver": "coturn",
    "turnutils_uclient": "coturn",
    "turnutils_peer": "coturn",
    "baresip": "baresip-core",
    "linphonec": "linphone-cli",
    "chromium": "chromium",
    "Xvfb": "xvfb",
    "xrandr": "x11-xserver-utils",
    "pulseaudio": "pulseaudio libportaudio2 libasound2-plugins",
    "tmux": "tmux",
    "avahi-daemon": "avahi-daemon",
    "nft": "nftables",
    "ip": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
ALWAYS_NEEDED = {"interop": (), "kernel": ("ip", "nft", "unshare")}

# One deadline for all would only measure how busy the machine is.
settings.register_profile(
    "default", max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.option.markexpr
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.invocation_params.args}
    for item in items:
        for suite in SUITES:
            if item.get_closest_marker(suite) and suite not in wanted and item.path not in named:
                item.add_marker(pytest.mark.skip(reason=f"not asked for: make {suite}"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for suite in SUITES:
        for marker in item.iter_markers(suite):
            missing = [
                program
                for program in (*ALWAYS_NEEDED[suite], *marker.args)
                if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None
            ]
            if missing and not any(item.iter_markers("skip")):
                packages = " ".join(dict.fromkeys(PACKAGES.get(program, program) for program in missing))
                unavailable(f"{', '.join(missing)} missing: apt-get install {packages}")


def unavailable(reason: str) -> None:
    """End a test that this machine cannot run: skipped with the reason, failed where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must be able to run this: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(autouse=True, scope="session")
def _tools_of_root() -> Iterator[None]:
    """nft, ip and turnserver live where an ordinary user's PATH may not lead."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = before + ":/usr/sbin:/sbin"
    yield
    os.environ["PATH"] = before


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """How to run the same again."""
    seed = config.getoption("randomly_seed", default=None)
    if seed is not None:
        terminalreporter.write_line(f"order and seed again: pytest --randomly-seed={seed}")
