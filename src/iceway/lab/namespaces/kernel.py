"""Network namespaces of this kernel, held by file descriptors alone.

A namespace is made by a short-lived thread that leaves ours, and lives as long as somebody holds it: we, by
its descriptor, or a process in it. Nothing is mounted and nothing is named, so this works for root and for
the root of a user namespace (`unshare -Urn`) alike, and nothing is left behind when the holder dies.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from iceway.core.errors import EnvironmentFailure

_CLONE_NEWNET = 0x40000000
_TOOLS = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "unshare": "util-linux"}
_KILL_TIMEOUT = 2.0
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
"""Where root's tools are, which an ordinary user's PATH may not lead to."""
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_USER_NAMESPACE = ("unshare", "-Urn", "--")


class Namespace:
    """One network namespace. Close it when nobody needs it any more."""

    def __init__(self) -> None:
        self._descriptor = _in_thread(_make)

    @property
    def path(self) -> str:
        """A path by which any process may name the namespace while we hold it."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the namespace for the length of the block; sockets made there stay there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._descriptor, _CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)

    def run(self, *argv: str, text: str | None = None) -> None:
        """Run a short command inside; raises EnvironmentFailure with what it complained about."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", "--", *argv],
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
        )
        if done.returncode:
            complaint = done.stderr.strip() or f"exit status {done.returncode}"
            raise EnvironmentFailure(f"`{' '.join(argv)}` failed in a network namespace: {complaint}")

    def set(self, key: str, value: int) -> None:
        """Set a sysctl of the namespace, `ipv4/ip_forward` for net.ipv4.ip_forward."""
        with self.entered(), open(f"/proc/sys/net/{key}", "w") as file:
            file.write(str(value))

    def checksum(self, device: str) -> None:
        """Let this namespace, not whoever takes its frames, compute checksums and cut segments."""
        value = array.array("I", [_ETHTOOL_STXCSUM, 0])
        request = struct.pack("16sP", device.encode(), value.buffer_info()[0])
        with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SIOCETHTOOL, request)

    def members(self) -> list[int]:
        """The ids of the other processes that live in the namespace."""
        ours = os.stat(self.path)
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                with contextlib.suppress(OSError):
                    theirs = os.stat(f"/proc/{entry}/ns/net")
                    if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
                        found.append(int(entry))
        return found

    def clear(self) -> None:
        """Kill whoever lives in the namespace, and wait until they are gone."""
        deadline = time.monotonic() + _KILL_TIMEOUT
        while (members := self.members()) and time.monotonic() < deadline:
            for process in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.005)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def available() -> tuple[bool, str]:
    """Whether this process may build kernel networks, and in one line why not."""
    if not sys.platform.startswith("linux"):
        return False, "network namespaces are a thing of Linux"
    for tool, package in _TOOLS.items():
        if shutil.which(tool, path=_PATH) is None:
            return False, f"`{tool}` is missing: install {package}"
    try:
        namespace = Namespace()
    except EnvironmentFailure as failure:
        return False, f"{failure.cause}: run as root, or under `{' '.join(_USER_NAMESPACE[:-1])}`"
    try:
        namespace.run("nft", "add table ip probe")
    except (EnvironmentFailure, OSError, subprocess.SubprocessError) as failure:
        return False, f"nftables do not work here: {failure}"
    finally:
        namespace.close()
    return True, "root" if os.getuid() == 0 else "allowed"


def launcher() -> tuple[str, ...]:
    """What to put before a command so that it may build kernel networks: nothing, or `unshare -Urn --`.

    Raises EnvironmentFailure where neither works.
    """
    allowed, reason = available()
    if allowed:
        return ()
    if shutil.which("unshare") is not None:
        tried = subprocess.run([*_USER_NAMESPACE, "true"], capture_output=True, timeout=30)
        if tried.returncode == 0:
            return _USER_NAMESPACE
    raise EnvironmentFailure("kernel networks are not available", reason)


def _make() -> int:
    _call("unshare", _CLONE_NEWNET)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise EnvironmentFailure(f"no network namespaces for this process ({os.strerror(number).lower()})")


def _in_thread(make: Callable[[], int]) -> int:
    """The result of `make`, run by a thread of its own, whose namespace is then nobody's."""
    result: list[int] = []
    failures: list[EnvironmentFailure] = []

    def body() -> None:
        try:
            result.append(make())
        except EnvironmentFailure as failure:
            failures.append(failure)

    thread = threading.Thread(target=body, name="namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return result[0]
