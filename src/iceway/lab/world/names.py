"""Names in a world: each host asks its name server, and is told the view its address there belongs to."""

from __future__ import annotations

from iceway.core.machine import Answer, Resolve, Resolved
from iceway.lab.topology import Topology
from iceway.lab.world.host import HostNode

PROCESSING = 0.0005
GIVE_UP = 5.0


class Names:
    """The zone tables of a topology, as the hosts of a network see them."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def resolve(self, host: HostNode, request: Resolve) -> tuple[float, Resolved]:
        """The answer, and how long it takes to come."""
        key, name, kind = request.key, request.name, request.record_type
        if host.nameserver is None:
            return 0.0, Resolved(key, name, kind, error="no name server is configured")
        delay = host.network.path_delay(host, host.nameserver)
        route = host.route(host.nameserver)
        if delay is None or route is None:
            return GIVE_UP, Resolved(key, name, kind, error="timed out")
        return 2 * delay + PROCESSING, Resolved(key, name, kind, self.look_up(route[0].ip, name, kind))

    def look_up(self, asker: str, name: str, record_type: str) -> tuple[Answer, ...]:
        """What an asker with this address is told."""
        view = self._topology.view_of(asker)
        wanted = name.rstrip(".").lower()
        return tuple(
            record.answer
            for record in (view.records if view else ())
            if record.type == record_type and record.name.rstrip(".").lower() == wanted
        )
