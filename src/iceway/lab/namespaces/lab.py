"""A topology on this kernel: a namespace a node, a bridge a segment, real NATs of nftables.

    with KernelLab(topologies.reflexive()) as lab:
        process = lab.popen("alice", ["iceway", "answer", …])
        with lab.enter("bob"):
            sock = socket.socket(…)

The host's own network is never touched. Processes started here, and those they started, are ended on leaving,
by their ids, and the namespaces go with them. Names are served where the topology's hosts look for them, and
processes find the server in their `/etc/resolv.conf`. A segment whose link has delay, loss or a rate is no bridge
but a wire of `iceway.lab.wires`, which treats packets as the virtual world does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.lab.nameserver import NameServer
from iceway.lab.namespaces import addressing, ruleset
from iceway.lab.namespaces.addressing import family
from iceway.lab.namespaces.carrier import Carrier
from iceway.lab.namespaces.kernel import Namespace, available
from iceway.lab.topology import Host, Link, Router, Topology

GRACE = 3.0
"""Seconds between asking a process to end and killing it."""
_WITH_RESOLV_CONF = 'mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@"'


class KernelLab:
    """A topology while it stands. Raises EnvironmentFailure where it cannot be built."""

    def __init__(self, topology: Topology, seed: int = 0) -> None:
        self.topology = topology
        self.seed = seed
        self._carrier: Carrier | None = None
        self._namespaces: dict[str, Namespace] = {}
        self._processes: list[subprocess.Popen[Any]] = []
        self._name_servers: list[NameServer] = []
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        for router in self.topology.routers:
            ruleset.check(router)
        allowed, reason = available()
        if not allowed:
            raise EnvironmentFailure("the kernel laboratory is not available", reason)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def wires(self) -> int | None:
        """The id of the process that carries what is on links with delay, loss or a rate; None: there is none."""
        return self._carrier.pid if self._carrier is not None else None

    def enter(self, node: str) -> contextlib.AbstractContextManager[None]:
        """Put this thread onto a host or router for the length of a block; sockets made there stay there."""
        return self._namespace(node).entered()

    def words(self, node: str) -> list[str]:
        """What to put before a command line that somebody else starts, so that it runs on a host or router."""
        command = ["nsenter", f"--net={self._namespace(node).path}", "--"]
        if (resolv_conf := self._resolv_conf(node)) is not None:
            command += ["unshare", "-m", "--", "sh", "-c", _WITH_RESOLV_CONF, str(resolv_conf)]
        return command

    def popen(
        self, node: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a process on a host or router, in a session of its own. Options are those of `Popen`."""
        process = subprocess.Popen([*self.words(node), *argv], env=env, start_new_session=True, **options)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End everything. Safe to call twice, and on a laboratory that is half built."""
        for process in self._processes:
            _signal(process, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self._processes.clear()
        broken = self._carrier.close() if self._carrier is not None else None
        self._carrier = None
        for server in self._name_servers:
            server.close()
        self._name_servers.clear()
        for namespace in self._namespaces.values():
            namespace.clear()  # of what processes of ours left when they ended
            namespace.close()
        self._namespaces.clear()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None
        if broken is not None:
            raise EnvironmentFailure("the laboratory's links broke while it stood", broken)

    # --- building ---------------------------------------------------------------------------------------
    def _build(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="iceway-lab-")
        nodes: list[Host | Router] = [*self.topology.hosts, *self.topology.routers]
        hub = self._namespaces[""] = Namespace()
        wiring = []
        wires: dict[str, tuple[Link, list[str]]] = {
            segment.name: (segment.link, []) for segment in self.topology.segments if segment.link != Link()
        }
        bridges = {
            segment.name: f"bridge{n}"
            for n, segment in enumerate(self.topology.segments)
            if segment.name not in wires
        }
        for bridge in bridges.values():
            wiring += [f"link add {bridge} type bridge forward_delay 0", f"link set {bridge} up"]
        for node in nodes:
            namespace = self._namespaces[node.name] = Namespace()
            for index, interface in enumerate(node.interfaces):
                port = f"port{len(wiring)}"
                wiring.append(f"link add {port} type veth peer name eth{index} netns {namespace.path}")
                if interface.segment in wires:
                    wires[interface.segment][1].append(port)
                    wiring.append(f"link set {port} arp off up")
                else:
                    wiring.append(f"link set {port} master {bridges[interface.segment]} up")
        hub.set("ipv6/conf/default/disable_ipv6", 1)
        for node in nodes:
            self._namespaces[node.name].set("ipv6/conf/default/disable_ipv6", 1)
        hub.run("ip", "-batch", "-", text="\n".join(wiring))
        if wires:
            self._carrier = Carrier(hub, wires, self.seed)
        for node in nodes:
            self._address(node)
            for index, interface in enumerate(node.interfaces):
                if interface.segment in wires:
                    self._namespaces[node.name].checksum(f"eth{index}")
        for router in self.topology.routers:
            self._route(router)
        self._serve_names()
        if self._carrier is not None:
            self._carrier.wait()

    def _address(self, node: Host | Router) -> None:
        namespace = self._namespaces[node.name]
        namespace.set("ipv4/conf/all/rp_filter", 0)
        namespace.set("ipv4/conf/default/rp_filter", 0)
        for index, interface in enumerate(node.interfaces):
            if family(interface.ip) == 6:
                namespace.set(f"ipv6/conf/eth{index}/accept_ra", 0)
                namespace.set(f"ipv6/conf/eth{index}/accept_dad", 0)
                namespace.set(f"ipv6/conf/eth{index}/disable_ipv6", 0)
        namespace.run("ip", "-batch", "-", text="\n".join(addressing.commands(node, self.topology)))

    def _route(self, router: Router) -> None:
        namespace = self._namespaces[router.name]
        namespace.set("ipv4/ip_forward", 1)
        namespace.set("ipv6/conf/all/forwarding", 1)
        # Who is turned round comes back where he came from, and is not told to go there directly.
        namespace.set("ipv4/conf/all/send_redirects", 0)
        for index in range(len(router.interfaces)):
            namespace.set(f"ipv4/conf/eth{index}/send_redirects", 0)
        inside = [f"eth{index}" for index in range(len(router.inside))]
        namespace.run("nft", "-f", "-", text=ruleset.ruleset(router, inside, f"eth{len(inside)}"))
        if router.nat is not None:
            for key in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
                namespace.set(f"netfilter/{key}", max(1, round(router.nat.mapping_timeout)))

    def _serve_names(self) -> None:
        asked = {host.nameserver for host in self.topology.hosts} - {None}
        for host in self.topology.hosts:
            for ip in host.ips:
                if ip in asked:
                    with self.enter(host.name):
                        self._name_servers.append(NameServer(self.topology, ip))

    def _resolv_conf(self, node: str) -> Path | None:
        host = next((host for host in self.topology.hosts if host.name == node), None)
        if (
            host is None
            or host.nameserver is None
            or self._directory is None
            or not Path("/etc/resolv.conf").exists()
        ):
            return None
        path = Path(self._directory.name) / f"{node}.conf"
        path.write_text(f"nameserver {host.nameserver}\noptions timeout:1 attempts:2\n")
        return path

    def _namespace(self, node: str) -> Namespace:
        try:
            return self._namespaces[node]
        except KeyError:
            known = ", ".join(name for name in self._namespaces if name) or "none: the laboratory is closed"
            raise UsageError(f"no node is called {node!r}; there are {known}") from None


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    """To the process and whatever shares its group, whose id is the process's own."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
