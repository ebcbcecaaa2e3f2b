"""Asks an X server which windows there are and where they lie: the few requests of the X protocol that takes.

Only `screen.py` needs it: mss takes pictures of regions, and a window is a region that moves. The connection is
blocking and used by one thread at a time. Whatever is wrong with the server or its answers is an EnvironmentFailure.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from iceway.core.errors import EnvironmentFailure, ParseError

PATIENCE = 5.0  # seconds for an answer
MAX_ANSWER = 1 << 20
MAX_WINDOWS = 1000

_COOKIE = b"MIT-MAGIC-COOKIE-1"
_GET_ATTRIBUTES, _GET_GEOMETRY, _QUERY_TREE, _INTERN_ATOM = 3, 14, 15, 16
_GET_PROPERTY, _TRANSLATE, _QUERY_EXTENSION = 20, 40, 98
_WM_NAME, _VIEWABLE, _LOCAL = 39, 2, 256
_DISPLAY = re.compile(r"(?:unix)?(?P<host>[^:]*):(?P<number>\d{1,4})(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the desktop, in pixels; its corner may lie outside."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.left},{self.top}"


@dataclass(frozen=True, slots=True)
class Window:
    id: int
    title: str
    region: Region

    def __str__(self) -> str:
        return f"{self.title!r} (0x{self.id:x}, {self.region})"


class WindowServer:
    """A connection to the X server that $DISPLAY, or `display`, names."""

    def __init__(self, display: str | None = None) -> None:
        name = display or os.environ.get("DISPLAY", "")
        named = _DISPLAY.fullmatch(name)
        if named is None:
            raise no_display()
        host, number = named["host"], int(named["number"])
        try:
            self._connection = _connect(host, number)
        except OSError as error:
            raise EnvironmentFailure(
                f"the display {name} does not answer: {error.strerror or error}",
                "Set DISPLAY to that of your desktop session; `ls /tmp/.X11-unix` lists the local ones.",
            ) from error
        try:
            self._root = self._set_up(*_authorization(host, number))
            self._net_wm_name = self._atom("_NET_WM_NAME")
            self._clients = self._atom("_NET_CLIENT_LIST")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def windows(self) -> list[Window]:
        """The windows with a title that can be seen now, as the window manager lists them, if there is one."""
        listed = self._property(self._root, self._clients)
        if listed:
            ids = list(struct.unpack(f"<{len(listed) // 4}I", listed[: len(listed) // 4 * 4]))
        else:
            ids = [inner for outer in self._children(self._root) for inner in (outer, *self._children(outer))]
        found = []
        for window in ids[:MAX_WINDOWS]:
            title = self.title(window)
            region = self.region(window) if title else None
            if region is not None:
                found.append(Window(window, title, region))
        return found

    def title(self, window: int) -> str:
        """What stands in the window's bar; empty if it has no title or is gone."""
        modern = self._property(window, self._net_wm_name) if self._net_wm_name else b""
        if modern:
            return modern.decode(errors="replace")
        return self._property(window, _WM_NAME).decode("latin-1")

    def region(self, window: int) -> Region | None:
        """Where the window lies now, without its frame; None if it is gone or not shown."""
        attributes = self._ask(_GET_ATTRIBUTES, 0, struct.pack("<I", window))
        geometry = self._ask(_GET_GEOMETRY, 0, struct.pack("<I", window))
        corner = self._ask(_TRANSLATE, 0, struct.pack("<IIhh", window, self._root, 0, 0))
        if attributes is None or geometry is None or corner is None or attributes[26] != _VIEWABLE:
            return None
        width, height = struct.unpack_from("<HH", geometry, 16)
        left, top = struct.unpack_from("<hh", corner, 12)
        return Region(left, top, width, height)

    def desktop(self) -> Region | None:
        """All screens together, as they are now."""
        return self.region(self._root)

    def exists(self, window: int) -> bool:
        return self._ask(_GET_GEOMETRY, 0, struct.pack("<I", window)) is not None

    def shows_only_its_own(self) -> bool:
        """This is Xwayland, which knows nothing of what else is on the screen."""
        answer = self._ask(_QUERY_EXTENSION, 0, struct.pack("<HH", 8, 0) + b"XWAYLAND")
        return answer is not None and answer[8] == 1

    # --- requests -----------------------------------------------------------------------------------------
    def _children(self, window: int) -> tuple[int, ...]:
        answer = self._ask(_QUERY_TREE, 0, struct.pack("<I", window))
        if answer is None:
            return ()
        (count,) = struct.unpack_from("<H", answer, 16)
        count = min(count, (len(answer) - 32) // 4, MAX_WINDOWS)
        return struct.unpack_from(f"<{count}I", answer, 32)

    def _property(self, window: int, name: int) -> bytes:
        """All of a property, as bytes; empty if there is none."""
        if not name:
            return b""
        answer = self._ask(_GET_PROPERTY, 0, struct.pack("<IIIII", window, name, 0, 0, MAX_WINDOWS))
        if answer is None:
            return b""
        (count,) = struct.unpack_from("<I", answer, 16)
        return answer[32 : 32 + count * (answer[1] // 8)]

    def _atom(self, name: str) -> int:
        """The number of a name, 0 if the server has never heard of it."""
        data = name.encode()
        answer = self._ask(_INTERN_ATOM, 1, struct.pack("<HH", len(data), 0) + _padded(data))
        return 0 if answer is None else int(struct.unpack_from("<I", answer, 8)[0])

    def _ask(self, opcode: int, detail: int, body: bytes) -> bytes | None:
        """The answer to a request, None if the server refuses it (the window is gone)."""
        try:
            self._connection.sendall(struct.pack("<BBH", opcode, detail, 1 + len(body) // 4) + body)
            while True:
                answer = self._receive(32)
                if answer[0] == 1:
                    (more,) = struct.unpack_from("<I", answer, 4)
                    return answer + self._receive(more * 4)
                if answer[0] == 0:
                    return None
        except (OSError, ParseError) as error:
            raise _lost(error) from error

    def _set_up(self, method: bytes, secret: bytes) -> int:
        """Introduce ourselves; the root window."""
        try:
            self._connection.sendall(
                struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(method), len(secret))
                + _padded(method)
                + _padded(secret)
            )
            head = self._receive(8)
            body = self._receive(struct.unpack_from("<H", head, 6)[0] * 4)
        except (OSError, ParseError) as error:
            raise _lost(error) from error
        if head[0] != 1:
            reason = body[: head[1]].decode("latin-1").strip()
            raise EnvironmentFailure(
                f"the X server lets nobody in from here: {reason or 'no reason given'}",
                "Run it as the user of the desktop session, or set XAUTHORITY to that session's file.",
            )
        try:
            (vendor,) = struct.unpack_from("<H", body, 16)
            at = 32 + (vendor + 3) // 4 * 4 + 8 * body[21]
            return int(struct.unpack_from("<I", body, at)[0])
        except (struct.error, IndexError) as error:
            raise _lost(error) from error

    def _receive(self, count: int) -> bytes:
        if count > MAX_ANSWER:
            raise ParseError(f"an answer of {count} bytes")
        data = bytearray()
        while len(data) < count:
            piece = self._connection.recv(count - len(data))
            if not piece:
                raise ParseError("the connection is closed")
            data += piece
        return bytes(data)


def no_display() -> EnvironmentFailure:
    if os.environ.get("WAYLAND_DISPLAY"):
        return wayland()
    return EnvironmentFailure(
        "there is no screen here: DISPLAY is not set",
        "Run it inside a desktop session, or set DISPLAY to that of one, such as :0.",
    )


def wayland() -> EnvironmentFailure:
    return EnvironmentFailure(
        "the screen of a Wayland session cannot be captured, since Wayland shows programs only their own windows",
        "Log in to an X11 session (“on Xorg”), or share what runs in a nested X server such as Xephyr.",
    )


def _connect(host: str, number: int) -> socket.socket:
    if host in ("", "unix"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(f"/tmp/.X11-unix/X{number}")
        except BaseException:
            connection.close()
            raise
        return connection
    return socket.create_connection((host, 6000 + number), PATIENCE)


def _authorization(host: str, number: int) -> tuple[bytes, bytes]:
    """The method and the secret for a display, as $XAUTHORITY has them; nothing if it has none."""
    file = Path(os.environ.get("XAUTHORITY") or Path.home() / ".Xauthority")
    try:
        entries = authorities(file.read_bytes())
    except (OSError, ParseError):
        return b"", b""
    here = socket.gethostname().encode()
    for family, address, display, method, secret in entries:
        local = host in ("", "unix", "localhost", "127.0.0.1")
        ours = family != _LOCAL or not local or address == here
        if ours and display in (b"", str(number).encode()) and method == _COOKIE:
            return method, secret
    return b"", b""


def authorities(data: bytes) -> list[tuple[int, bytes, bytes, bytes, bytes]]:
    """The entries of an .Xauthority file: family, address, display, method, secret. Raises ParseError."""
    entries, at = [], 0
    while at < len(data):
        if len(data) - at < 2:
            raise ParseError("an .Xauthority file ends within an entry")
        (family,) = struct.unpack_from(">H", data, at)
        at += 2
        parts = []
        for _ in range(4):
            size = int.from_bytes(data[at : at + 2])
            if len(data) - at < 2 + size:
                raise ParseError("an .Xauthority file ends within an entry")
            parts.append(data[at + 2 : at + 2 + size])
            at += 2 + size
        entries.append((family, parts[0], parts[1], parts[2], parts[3]))
    return entries


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _lost(error: Exception) -> EnvironmentFailure:
    return EnvironmentFailure(f"the X server is gone: {getattr(error, 'strerror', None) or error}")
