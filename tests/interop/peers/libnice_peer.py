"""libnice as a peer, in the mode of RFC 5245. For the system's Python, where its bindings are.

Of `options` it knows `flags` (names of Nice.AgentOption) and `tcp` (true: candidates over TCP alone).

The bindings cannot pass a receiver to `nice_agent_attach_recv`, so ctypes does. They crash when anybody reads
`NiceCandidate.foundation`, so candidates are only handed from one function of libnice to another.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
from typing import Any

import gi
from lines import GREETING_INTERVAL, Ears, Meter, tell

gi.require_version("Nice", "0.1")
from gi.repository import GLib, Nice  # noqa: E402 (the version must be named first)

COMPONENT = 1
USABLE = (3, 4)  # NiceComponentState: connected, ready
FAILED = 5

Receiver = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,  # the agent
    ctypes.c_uint,  # stream
    ctypes.c_uint,  # component
    ctypes.c_uint,  # length
    ctypes.POINTER(ctypes.c_char),
    ctypes.c_void_p,  # user data
)
_attach = ctypes.CDLL("libnice.so.10").nice_agent_attach_recv
_attach.argtypes = (
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.c_void_p,
    Receiver,
    ctypes.c_void_p,
)
_attach.restype = ctypes.c_int


class Peer:
    def __init__(self, loop: GLib.MainLoop) -> None:
        self._loop = loop
        self._ears, self._meter = Ears(), Meter()
        self._receiver = Receiver(self._received)  # kept, since libnice keeps no reference
        self._usable = False
        self._waiting: list[str] = []
        self._greeting: str | None = None
        self._greeter = 0

    def hear(self, command: dict[str, Any]) -> None:
        do = command.pop("do")
        getattr(self, do)(**command)

    # --- commands ----------------------------------------------------------------------------------------
    def gather(
        self,
        controlling: bool,
        servers: list[dict[str, Any]],
        policy: str = "all",
        addresses: list[str] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._meter.start()
        options = options or {}
        flags = Nice.AgentOption.ICE_TRICKLE
        for name in options.get("flags", ()):
            flags |= getattr(Nice.AgentOption, name)
        self.agent = agent = Nice.Agent.new_full(
            GLib.MainContext.default(), Nice.Compatibility.RFC5245, flags
        )
        tcp = options.get("tcp", False)
        settings = {
            "controlling-mode": controlling,
            "force-relay": policy == "relay",
            "ice-tcp": tcp,
            "ice-udp": not tcp,
            "upnp": False,
        }
        for name, value in settings.items():
            agent.set_property(name, value)
        for ip in addresses or ():
            address = Nice.Address.new()
            if not (address.set_from_string(ip) and agent.add_local_address(address)):
                raise SystemExit(f"libnice does not take {ip} for an address")
        agent.connect("new-candidate-full", lambda agent, candidate: tell(candidate=self._line(candidate)))
        agent.connect("candidate-gathering-done", lambda agent, stream: tell(end=True))
        agent.connect("component-state-changed", self._changed)
        agent.connect("new-selected-pair-full", self._selected)
        self.stream = agent.add_stream(1)
        for server in servers:
            if server["kind"] == "stun":
                agent.set_property("stun-server", server["ip"])
                agent.set_property("stun-server-port", server["port"])
            else:
                place = server["ip"], server["port"], server["user"], server["password"]
                agent.set_relay_info(self.stream, COMPONENT, *place, Nice.RelayType.UDP)
        _attach(hash(agent), self.stream, COMPONENT, None, self._receiver, None)
        _, ufrag, pwd = agent.get_local_credentials(self.stream)
        tell(credentials={"ufrag": ufrag, "pwd": pwd})
        if not agent.gather_candidates(self.stream):
            raise SystemExit("libnice could not begin to gather")

    def remote(self, ufrag: str, pwd: str, **announced: object) -> None:
        self.agent.set_remote_credentials(self.stream, ufrag, pwd)

    def candidate(self, line: str) -> None:
        candidate = self.agent.parse_remote_candidate_sdp(self.stream, f"a=candidate:{line}")
        if candidate is None:
            raise SystemExit(f"libnice cannot read {line}")
        self.agent.set_remote_candidates(self.stream, COMPONENT, [candidate])

    def end(self) -> None:
        self.agent.peer_candidate_gathering_done(self.stream)

    def send(self, text: str) -> None:
        if self._usable:
            self.agent.send(self.stream, COMPONENT, len(text), text)
        else:
            self._waiting.append(text)

    def greet(self, text: str) -> None:
        self._greeting = text
        self._greet()

    def hush(self) -> None:
        self._greeting = None

    def cpu(self) -> None:
        self._meter.tell()

    def close(self) -> None:
        self._loop.quit()

    # --- what happens ------------------------------------------------------------------------------------
    def _line(self, candidate: Nice.Candidate) -> str:
        return str(self.agent.generate_local_candidate_sdp(candidate)).removeprefix("a=candidate:")

    def _changed(self, agent: Nice.Agent, stream: int, component: int, state: int) -> None:
        if state == FAILED:
            tell(failed="libnice says no more than that")
        elif state in USABLE and not self._usable:
            self._usable = True
            tell(usable=True)
            for text in self._waiting:
                self.send(text)
            self._greet()

    def _selected(
        self, agent: Nice.Agent, stream: int, component: int, local: Nice.Candidate, remote: Nice.Candidate
    ) -> None:
        ends = [self._line(candidate).split() for candidate in (local, remote)]
        places = [(words[4], int(words[5])) for words in ends]
        tell(selected={"local": places[0], "remote": places[1], "types": [words[7] for words in ends]})

    def _received(
        self, agent: int, stream: int, component: int, length: int, data: Any, context: object
    ) -> None:
        self._ears.heard(data[:length])

    def _greet(self) -> None:
        if self._usable and self._greeting is not None and not self._greeter:
            self.send(self._greeting)
            self._greeter = GLib.timeout_add(round(GREETING_INTERVAL * 1000), self._greet_again)

    def _greet_again(self) -> bool:
        if self._greeting is not None:
            self.send(self._greeting)
        return self._greeting is not None


def main() -> None:
    loop = GLib.MainLoop()
    peer = Peer(loop)

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(peer.hear, json.loads(line), priority=GLib.PRIORITY_DEFAULT)
        GLib.idle_add(loop.quit)

    threading.Thread(target=listen, daemon=True).start()
    tell(ready=True)
    loop.run()


main()
