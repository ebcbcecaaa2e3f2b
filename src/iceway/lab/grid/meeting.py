"""Two ICE agents and a relay in the virtual world: the real machines, only their network is made up.

Descriptions travel by a channel of the lab's own, `SIGNALLING` seconds each way, since how they travel is not
what is tried here. Either each side offers when its gathering has settled and both hear of the other at once
(`meet`), or candidates trickle from the first moment on (`trickle`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from iceway.core.address import Address, Transport
from iceway.core.machine import TlsServer
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig, IceServer, ServerKind
from iceway.lab.grid.ends import End, Introductions
from iceway.lab.grid.networks import EDGE, ENDS, RELAY_IP, RELAY_PORT, WEB_PORT
from iceway.lab.topology import Topology
from iceway.lab.world import World
from iceway.lab.world.tls import Certificate
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import TurnServer

SIGNALLING = 0.060
RELAY_NAME = "relay.example.test"
USER, PASSWORD = "user", "secret"
PORTS = {Transport.UDP: RELAY_PORT, Transport.TCP: RELAY_PORT, Transport.TLS: WEB_PORT}


def relay_config(topology: Topology) -> TurnServerConfig:
    """A relay on the edge of a topology: every transport on every address of its foot on the internet."""
    ips = relay_ips(topology)
    listeners = tuple(
        TurnListener(transport, Address(ip, port), TlsServer(EDGE) if transport is Transport.TLS else None)
        for ip in ips
        for transport, port in PORTS.items()
    )
    relay_ip6 = next((ip for ip in ips if ":" in ip), None)
    return TurnServerConfig("example.test", listeners, relay_ip=RELAY_IP, relay_ip6=relay_ip6)


def relay_ips(topology: Topology) -> tuple[str, ...]:
    edge = topology.host(EDGE)
    return tuple(i.ip for i in edge.interfaces if i.segment.startswith("internet"))


def servers(topology: Topology, host: str) -> tuple[IceServer, ...]:
    """What a client on this host finds when it looks the relay up: its addresses of the families it has."""
    families = {Address(ip, 0).family for ip in topology.host(host).ips}
    return tuple(
        IceServer(ServerKind.TURN, RELAY_NAME, port, transport, USER, PASSWORD, Address(ip, port))
        for ip in relay_ips(topology)
        if Address(ip, 0).family in families
        for transport, port in PORTS.items()
    )


class Meeting(Introductions):
    """Alice and Bob on a topology."""

    def __init__(
        self, topology: Topology, seed: int = 1, configs: Mapping[str, AgentConfig] | None = None
    ) -> None:
        super().__init__()
        self.world = World(topology, seed)
        self.relay = self.run_relay()
        for name, peer in (ENDS, ENDS[::-1]):
            config = configs[name] if configs else AgentConfig(controlling=name == ENDS[0])
            end = self.ends[name] = End(name, peer, Agent(f"{name}/ice", config, self.world.rng(name)))
            self.world.run(name, end.agent, on_event=partial(self.happened, end))

    def run_relay(self) -> TurnServer:
        """A relay that knows nothing of any other that ran there before."""
        config = relay_config(self.world.topology)
        relay = TurnServer(config, StaticAuthenticator({USER: PASSWORD}), self.world.rng(EDGE))
        self.world.run(EDGE, relay, identities={EDGE: Certificate((RELAY_NAME,))})
        self.world.call(EDGE, relay.start)
        return relay

    def trickle(self) -> None:
        """Both gather, and tell each other what they find as they find it."""
        for end in self.ends.values():
            self.introduce(end)
        self._gather()

    def meet(self, timeout: float = 10.0) -> None:
        """Both gather; when the last has settled, both are told of the other, and go on trickling."""
        self._gather()
        assert self.world.run_until(self.settled, timeout), "gathering settles within 2 s by itself"
        self.told_at = self.world.now + SIGNALLING
        for end in self.ends.values():
            self.introduce(end)

    def talk(self) -> bool:
        """Each says something on the path it has; whether each heard exactly what the other said."""
        for end in self.ends.values():
            self.world.call(end.name, lambda now, end=end: end.agent.send(end.greeting, now))  # type: ignore[misc]
        self.world.run_until(lambda: all(end.heard for end in self.ends.values()), 1.0)
        return all(end.heard == [self.ends[end.peer].greeting] for end in self.ends.values())

    # --- what happens ------------------------------------------------------------------------------------
    def _gather(self) -> None:
        for end in self.ends.values():
            self._start(end)

    def _start(self, end: End) -> None:
        ips, asked = self.world.topology.host(end.name).ips, self._servers(end)
        self.world.call(end.name, lambda now: end.agent.gather(ips, asked, now))

    def _servers(self, end: End) -> tuple[IceServer, ...]:
        return servers(self.world.topology, end.name)

    def _later(self, host: str, command: Callable[[Agent, float], object]) -> None:
        agent = self.ends[host].agent

        def arrive() -> None:
            self.world.call(host, lambda now: command(agent, now))

        self.world.clock.after(self._journey(), arrive)

    def _journey(self) -> float:
        """How long the next message of the signalling travels."""
        return SIGNALLING
