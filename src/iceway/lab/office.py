"""The company of the demo: its edge, front end and people, put into one of the office topologies.

The configurations are those of real deployments. `VirtualOffice` runs the programs in the virtual world,
`iceway.lab.kernel_office` the same ones, from the same configurations, as processes on kernel NATs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from iceway.client import events
from iceway.client.config import PhoneConfig
from iceway.client.media import Media
from iceway.client.phone import Phone
from iceway.client.ways import Ways
from iceway.edge.config import EdgeConfig
from iceway.edge.credentials import KeyRing, TokenKeys
from iceway.edge.edge import Edge
from iceway.frontend.config import FrontEndConfig
from iceway.frontend.frontend import FrontEnd
from iceway.frontend.store import SqlStore
from iceway.frontend.users import add_user
from iceway.ice.config import Policy
from iceway.lab.topologies import ACCESS_PORT, DOMAIN, EDGE_INNER, EDGE_OUTER, FRONTEND_PORT
from iceway.lab.topology import Topology
from iceway.lab.world import World
from iceway.lab.world.tls import Certificate
from iceway.media.dtls import DtlsIdentity
from iceway.media.files import MemorySink, SilenceSource, Source, ToneSource
from iceway.media.keying import Keys
from iceway.media.pictures import MemorySink as SeenPictures
from iceway.media.pictures import Pictures, PictureSource
from iceway.trace.entry import Entry

PEOPLE = ("alice", "bob")
RINGBACK = 425.0  # Hz
MRAS_PORT = 5062


EDGE_TOML = f"""\
# The edge in the perimeter: clients come to its outer address, the front end to its inner one.
domain = "{DOMAIN}"
name = "edge.{DOMAIN}"
frontend = "frontend.{DOMAIN}:{FRONTEND_PORT}"

[access]
listen = ["{EDGE_OUTER}:{ACCESS_PORT}"]

[credentials]
listen = "{EDGE_INNER}:{MRAS_PORT}"

[relay]
host = "av.{DOMAIN}"
listen = "{EDGE_OUTER}"
"""

FRONTEND_TOML = f"""\
# The front end inside.
domain = "{DOMAIN}"
name = "frontend.{DOMAIN}"
edges = [{{ name = "edge.{DOMAIN}", mras = "edge.{DOMAIN}:{MRAS_PORT}" }}]
listen = [{{ address = "0.0.0.0:{FRONTEND_PORT}" }}]
"""


Shown = Mapping[str, PictureSource | Pictures | None]
"""What somebody brings to a call, by stream; `Pictures` have a sink and a rate of their own."""


def edge_config() -> EdgeConfig:
    return EdgeConfig.model_validate(tomllib.loads(EDGE_TOML))


def frontend_config() -> FrontEndConfig:
    return FrontEndConfig.model_validate(tomllib.loads(FRONTEND_TOML))


def password_of(name: str) -> str:
    """Lab people's passwords are no secret."""
    return f"{name}'s lab password"


@dataclass
class VirtualPerson:
    """Somebody with a phone in the virtual world. `heard` and `seen` are what their calls brought, in order.

    `seen` by stream: "video", "slides".
    """

    name: str
    phone: Phone
    world: World
    events: list[object] = field(default_factory=list)
    heard: list[MemorySink] = field(default_factory=list)
    seen: list[dict[str, SeenPictures]] = field(default_factory=list)

    def saw(self, kind: type) -> bool:
        return any(isinstance(event, kind) for event in self.events)

    def waits_for(self, kind: type, seconds: float = 20.0) -> bool:
        """Let virtual time pass until such an event has come."""
        return self.world.run_until(lambda: self.saw(kind), seconds)

    def calls(self, peer: str, say: Source | None = None, shows: Shown | None = None) -> str:
        media = self.media(say, shows or {})
        return self.world.call(self.name, lambda now: self.phone.call(f"sip:{peer}@{DOMAIN}", media, now))

    def picks_up(self, call: str = "call.1") -> None:
        self.world.call(self.name, lambda now: self.phone.pick_up(call, now))

    def refuses(self, call: str = "call.1", code: int = 486, reason: str = "Busy Here") -> None:
        self.world.call(self.name, lambda now: self.phone.refuse(call, code, reason, now))

    def hangs_up(self, call: str = "call.1") -> None:
        self.world.call(self.name, lambda now: self.phone.hang_up(call, now))

    def adds(self, call: str, kind: str, source: PictureSource | None) -> None:
        """…"video" or "slides" to a call; what is seen of the other side's comes last in `seen`."""
        sink = SeenPictures()
        self.seen.append({kind: sink})
        pictures = Pictures(source, sink)
        self.world.call(self.name, lambda now: self.phone.add(call, kind, pictures, now))

    def drops(self, call: str, kind: str) -> None:
        self.world.call(self.name, lambda now: self.phone.drop(call, kind, now))

    def media(self, say: Source | None, shows: Shown | None = None) -> Media:
        """Sound and, of each kind in `shows`, pictures both ways; who shows None of a kind only watches."""
        sink = MemorySink()
        self.heard.append(sink)
        seen = {kind: SeenPictures() for kind in shows or {}}
        self.seen.append(seen)
        pictures = {
            kind: one if isinstance(one, Pictures) else Pictures(one, seen[kind])
            for kind, one in (shows or {}).items()
        }
        return Media(say or SilenceSource(), sink, ToneSource(RINGBACK, 0.1), **pictures)


class VirtualOffice:
    """Edge and front end running in a world; people join. The same seed gives the same trace."""

    def __init__(
        self,
        topology: Topology,
        seed: int = 0,
        *,
        keys: KeyRing | None = None,
        edge: EdgeConfig | None = None,
    ) -> None:
        self.world = World(topology, seed)
        self.people: dict[str, VirtualPerson] = {}
        self.store = SqlStore()
        for name in PEOPLE:
            add_user(self.store, name, password_of(name), DOMAIN, 0.0)
        self.keys = keys or KeyRing(TokenKeys.derive(b"the private key of the office's edge"))
        self._edge_config = edge or edge_config()
        self.start_edge()
        self.start_frontend()

    def start_edge(self) -> None:
        self.edge = Edge(self._edge_config, self.keys, self.world.rng("edge"))
        self.world.run("edge", self.edge, identities={"edge": Certificate((f"edge.{DOMAIN}",))})
        self.world.call("edge", self.edge.start)

    def start_frontend(self) -> None:
        """Also starts it again after `world.kill("frontend")`, with the store as it was."""
        self.frontend = FrontEnd(frontend_config(), self.store, self.world.rng("frontend"))
        identities = {"frontend": Certificate((f"frontend.{DOMAIN}",))}
        self.world.run("frontend", self.frontend, identities=identities)
        self.world.call("frontend", self.frontend.start)

    def joins(
        self,
        name: str,
        *,
        says: Callable[[], Source] = SilenceSource,
        shows: Callable[[], Shown] = dict,
        ring_for: float | None = None,
        password: str | None = None,
        relay_only: bool = False,
        wall_skew: float = 0.0,
        keys: Keys = Keys.SDES,
        certificate: DtlsIdentity | None = None,
        session_expires: int = 1800,
        bundle: bool = True,
        rtcp_mux: bool = True,
    ) -> VirtualPerson:
        """Somebody registers; wait for `events.Ready`. `says` and `shows` give what they bring to calls they take.

        Keys are those of SDP unless said otherwise: OpenSSL draws numbers of its own, so that no two runs of a
        handshake have the same trace.
        """
        config = PhoneConfig(
            f"sip:{name}@{DOMAIN}",
            password if password is not None else password_of(name),
            ways=Ways(policy=Policy.RELAY if relay_only else Policy.ALL),
            ring_for=ring_for,
            keys=keys,
            certificate=certificate,
            session_expires=session_expires,
            bundle=bundle,
            rtcp_mux=rtcp_mux,
        )
        phone = Phone(config, self.world.rng(name), lambda _: person.media(says(), shows()))
        person = self.people[name] = VirtualPerson(name, phone, self.world)
        self.world.run(
            name, phone, wall_skew=wall_skew, on_event=lambda event, _: person.events.append(event)
        )
        self.world.call(name, phone.start)
        return person

    def close(self) -> list[Entry]:
        """Everybody leaves, the servers last; the whole trace."""
        for person in self.people.values():
            self.world.call(person.name, person.phone.stop)
        self.world.run_until(lambda: all(p.saw(events.Stopped) for p in self.people.values()), 10.0)
        for name, server in (("edge", self.edge), ("frontend", self.frontend)):
            if self.world.programs[name].alive:
                self.world.call(name, server.stop)
                self.world.kill(name)
        self.store.close()
        return self.world.trace
