"""A domain's relay found through a real name server and real sockets, all on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import random

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig, IceServer
from iceway.ice.events import GatheringDone
from iceway.io.driver import Driver
from iceway.io.resolver import Resolver
from iceway.lab.nameserver import NameServer
from iceway.lab.topology import NameRecord, Topology, View
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import Listening, TurnServer

HERE = "127.0.0.1"
UDP, TCP = Transport.UDP, Transport.TCP


def zone(udp: int, tcp: int) -> Topology:
    """NAPTR for both transports; UDP's leads by way of another NAPTR record, TCP's to SRV."""
    domain = "example.test"
    records = (
        NameRecord(domain, "NAPTR", f"udp.{domain}", order=1, service="RELAY:turn.udp"),
        NameRecord(
            f"udp.{domain}", "NAPTR", f"_turn._udp.{domain}", order=1, flags="s", service="RELAY:turn.udp"
        ),
        NameRecord(domain, "NAPTR", f"_turn._tcp.{domain}", order=2, flags="s", service="RELAY:turn.tcp"),
        NameRecord(f"_turn._udp.{domain}", "SRV", f"relay.{domain}", udp),
        NameRecord(f"_turn._tcp.{domain}", "SRV", f"relay.{domain}", tcp),
        NameRecord(f"relay.{domain}", "A", HERE),
    )
    return Topology("zone", (), (), views=(View("all", records),))


def test_a_domain_leads_to_its_relay_over_udp_and_tcp() -> None:
    async def run() -> set[tuple[str, Transport | None]]:
        ports: dict[Transport, int] = {}
        listening, done = asyncio.Event(), asyncio.Event()
        relay = TurnServer(
            TurnServerConfig(
                "example.test",
                (TurnListener(UDP, Address(HERE, 0)), TurnListener(TCP, Address(HERE, 0))),
                HERE,
            ),
            StaticAuthenticator({"user": "secret"}),
            random.Random(1),
        )

        def at_relay(event: object, now: float) -> None:
            if isinstance(event, Listening):
                ports[event.transport] = event.local.port
                if len(ports) == 2:
                    listening.set()

        agent = Agent("alice/ice", AgentConfig(controlling=True), random.Random(1))

        def at_agent(event: object, now: float) -> None:
            if isinstance(event, GatheringDone):
                done.set()

        async with asyncio.timeout(20), Driver(relay, on_event=at_relay) as server:
            server.call(relay.start)
            await listening.wait()
            names = NameServer(zone(ports[UDP], ports[TCP]), HERE, 0)
            with contextlib.closing(names):
                resolver = Resolver([Address(HERE, names.port)], hosts=None)
                async with Driver(agent, resolver=resolver, on_event=at_agent) as driver:
                    found = IceServer.from_uri("turn:example.test", "user", "secret")
                    driver.call(lambda now: agent.gather((HERE,), (found,), now))
                    await done.wait()
                    candidates = agent.local_candidates
                    driver.call(agent.close)
        return {(one.address.ip, one.relay_transport) for one in candidates if one.type == "relay"}

    assert asyncio.run(run()) == {(HERE, UDP), (HERE, TCP)}
