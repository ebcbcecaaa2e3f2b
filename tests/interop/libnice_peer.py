"""A program for the system's Python, where libnice's bindings are: one libnice agent, in the mode of RFC 5245.

Its argument is a JSON object: `controlling`, `addresses`, and perhaps `flags` (names of Nice.AgentOption), `tcp`
(true: candidates over TCP alone) and `relay` ([ip, port, user, password], then nothing but the relay is used).
After that it speaks JSON, an object a
line. It hears {"remote": {"ufrag", "pwd", "candidates"}}, {"send": text}, and the end of its input, which ends
it. It tells {"local": {"ufrag", "pwd", "candidates"}}, {"state": name}, {"selected": [candidate, candidate]},
the local one first, and {"heard": text}. Candidates are lines of SDP.

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

gi.require_version("Nice", "0.1")
from gi.repository import GLib, Nice  # noqa: E402 (the version must be named first)

COMPONENT = 1
STATES = ("disconnected", "gathering", "connecting", "connected", "ready", "failed")  # NiceComponentState

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


def tell(**news: object) -> None:
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


class Peer:
    def __init__(self, options: dict[str, Any]) -> None:
        flags = Nice.AgentOption.NONE
        for name in options.get("flags", ()):
            flags |= getattr(Nice.AgentOption, name)
        self.agent = agent = Nice.Agent.new_full(
            GLib.MainContext.default(), Nice.Compatibility.RFC5245, flags
        )
        relay, tcp = options.get("relay"), options.get("tcp", False)
        settings = {
            "controlling-mode": options["controlling"],
            "force-relay": relay is not None,
            "ice-tcp": tcp,
            "ice-udp": not tcp,
            "upnp": False,
        }
        for name, value in settings.items():
            agent.set_property(name, value)
        for ip in options["addresses"]:
            address = Nice.Address.new()
            if not (address.set_from_string(ip) and agent.add_local_address(address)):
                raise SystemExit(f"libnice does not take {ip} for an address")
        agent.connect("candidate-gathering-done", self._gathered)
        agent.connect("component-state-changed", lambda agent, s, c, state: tell(state=STATES[state]))
        agent.connect("new-selected-pair-full", self._selected)
        self.stream = agent.add_stream(1)
        if relay is not None:
            agent.set_relay_info(self.stream, COMPONENT, *relay, Nice.RelayType.UDP)
        self._receiver = Receiver(self._received)  # kept, since libnice keeps no reference
        _attach(hash(agent), self.stream, COMPONENT, None, self._receiver, None)

    def gather(self) -> None:
        if not self.agent.gather_candidates(self.stream):
            raise SystemExit("libnice could not begin to gather")

    def hear(self, message: dict[str, Any]) -> None:
        if "remote" in message:
            remote = message["remote"]
            self.agent.set_remote_credentials(self.stream, remote["ufrag"], remote["pwd"])
            lines = remote["candidates"]
            candidates = [self.agent.parse_remote_candidate_sdp(self.stream, line) for line in lines]
            if None in candidates:
                raise SystemExit(f"libnice cannot read {lines[candidates.index(None)]}")
            self.agent.set_remote_candidates(self.stream, COMPONENT, candidates)
        if "send" in message:
            text = message["send"]
            self.agent.send(self.stream, COMPONENT, len(text), text)

    def _sdp(self, candidate: Nice.Candidate) -> str:
        return str(self.agent.generate_local_candidate_sdp(candidate))

    def _gathered(self, agent: Nice.Agent, stream: int) -> None:
        _, ufrag, pwd = agent.get_local_credentials(stream)
        candidates = [self._sdp(candidate) for candidate in agent.get_local_candidates(stream, COMPONENT)]
        tell(local={"ufrag": ufrag, "pwd": pwd, "candidates": candidates})

    def _selected(
        self, agent: Nice.Agent, stream: int, component: int, local: Nice.Candidate, remote: Nice.Candidate
    ) -> None:
        tell(selected=[self._sdp(local), self._sdp(remote)])

    def _received(
        self, agent: int, stream: int, component: int, length: int, data: Any, context: object
    ) -> None:
        tell(heard=data[:length].decode())


def main() -> None:
    loop = GLib.MainLoop()
    peer = Peer(json.loads(sys.argv[1]))

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(peer.hear, json.loads(line))
        GLib.idle_add(loop.quit)

    threading.Thread(target=listen, daemon=True).start()
    peer.gather()
    loop.run()


main()
