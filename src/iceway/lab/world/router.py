"""A router in a world: firewall, NAT, next hop. What does not pass is dropped and says why."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from iceway.lab.topology import Nat, Router
from iceway.lab.world.firewall import FirewallState
from iceway.lab.world.host import GROUPS
from iceway.lab.world.nat import NO_MAPPING, Refused, Translated, Translator
from iceway.lab.world.node import Node
from iceway.lab.world.packet import Packet

if TYPE_CHECKING:
    from iceway.lab.world.network import Network


class RouterNode(Node):
    """Carries packets between its inside segments and outside."""

    def __init__(self, router: Router, network: Network, rng: Random) -> None:
        super().__init__(router, network)
        self.outside = router.outside
        self.firewall = FirewallState(router.firewall)
        self._nat = router.nat
        self._rng = rng
        self._translator = self._fresh_translator(router.nat)

    def forget(self) -> None:
        """Lose all state, as a reboot would."""
        self._translator = self._fresh_translator(self._nat)
        self.firewall = FirewallState(self.firewall.rules)

    def receive(self, packet: Packet, segment: str) -> None:
        if packet.destination.ip in GROUPS:
            return  # of the link alone
        if packet.hops == 0:
            self._drop(packet, "too many hops")
            return
        packet = replace(packet, hops=packet.hops - 1)
        if segment == self.outside.segment:
            self._from_outside(packet)
        else:
            self._from_inside(packet)

    def _from_inside(self, packet: Packet) -> None:
        now = self.network.clock.now
        if packet.destination.ip == self.outside.ip and self._translator is not None:
            self._hairpin(packet, self._translator)
            return
        if packet.destination.ip in self.ips:
            self._drop(packet, "nobody listens on the router")
            return
        hop = self.route(packet.destination.ip)
        if hop is None or hop[0] != self.outside:
            self.transmit(packet)  # between inside segments, or nowhere
            return
        if refusal := self.firewall.refuses_outgoing(packet, now):
            self._drop(packet, refusal)
            return
        if self._translator is not None:
            result = self._translator.outgoing(packet, now)
            if isinstance(result, Refused):
                self._drop(packet, result.reason)
                return
            packet = self._note(packet, result, outgoing=True)
        self.transmit(packet)

    def _from_outside(self, packet: Packet) -> None:
        now = self.network.clock.now
        if refusal := self.firewall.refuses_incoming(packet, now, translated=self._translator is not None):
            self._drop(packet, refusal)
            return
        if self._translator is not None:
            if packet.destination.ip != self.outside.ip:
                self._drop(packet, NO_MAPPING)
                return
            result = self._translator.incoming(packet, now)
            if isinstance(result, Refused):
                self._drop(packet, result.reason)
                return
            packet = self._note(packet, result, outgoing=False)
        if packet.destination.ip in self.ips:
            self._drop(packet, "nobody listens on the router")
            return
        self.transmit(packet)

    def _hairpin(self, packet: Packet, translator: Translator) -> None:
        """From inside to our own outside address (RFC 4787 §6): out and in again, seen from outside."""
        if self._nat is None or not self._nat.hairpin:
            self._drop(packet, "hairpinning is off")
            return
        now = self.network.clock.now
        result = translator.outgoing(packet, now)
        if isinstance(result, Translated):
            packet = self._note(packet, result, outgoing=True)
            result = translator.incoming(packet, now)
        if isinstance(result, Refused):
            self._drop(packet, result.reason)
            return
        self.transmit(self._note(packet, result, outgoing=False))

    def _note(self, before: Packet, result: Translated, *, outgoing: bool) -> Packet:
        if result.first:
            self.network.translated(self.name, before, result.packet, outgoing=outgoing)
        return result.packet

    def _drop(self, packet: Packet, reason: str) -> None:
        self.network.dropped(self.name, packet, reason)

    def _fresh_translator(self, nat: Nat | None) -> Translator | None:
        return Translator(nat, self.outside.ip, self._rng) if nat is not None else None
