"""The kernel laboratory: it stands, it carries packets as the virtual world does, and it leaves nothing."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from iceway.core.address import Address
from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.lab import topologies
from iceway.lab.grid.networks import topology
from iceway.lab.namespaces import KernelLab, available, kernel, launcher
from iceway.lab.namespaces import lab as lab_module
from iceway.lab.probe import KernelField
from iceway.lab.topology import Behaviour, Firewall, Forward, Nat

EI, AD, APD = Behaviour

pytestmark = pytest.mark.kernel


def output(lab, node, *argv):
    return lab.popen(node, argv, stdout=subprocess.PIPE, text=True).communicate(timeout=20)[0]


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("name", topologies.TOPOLOGIES)
def test_both_callers_reach_the_relay_and_names_by_tcp_and_names(name):
    with KernelLab(topologies.named(name)) as lab:
        with lab.enter("edge"):
            listening = socket.create_server(("198.51.100.2", 443))
        with listening:
            for host in ("alice", "bob"):
                with lab.enter(host), socket.create_connection(("198.51.100.2", 443), timeout=5):
                    listening.accept()[0].close()
                assert "198.51.100.2" in output(lab, host, "getent", "hosts", "av.example.test")
        inside = output(lab, "bob", "getent", "hosts", "edge.example.test")
        outside = output(lab, "alice", "getent", "hosts", "edge.example.test")
        assert inside.split()[0] == "10.0.0.2"
        assert outside.split()[0] == ("10.0.0.2" if name == "one_lan" else "198.51.100.2")


def reflexive_of(field, host, port):
    """A socket of a host behind its NAT, and how the edge sees it."""
    local, relay = field.open(host, port), Address("198.51.100.2", 3478)
    field.send(local, relay)
    return local, field.heard(relay)


def test_holes_can_be_punched_through_two_port_restricted_nats():
    with KernelLab(topologies.reflexive()) as lab, KernelField(lab) as field:
        field.open("edge", 3478)
        (alice, alice_outside), (bob, bob_outside) = (
            reflexive_of(field, "alice", 5000),
            reflexive_of(field, "bob", 6000),
        )
        assert (alice_outside.ip, bob_outside.ip) == ("198.51.100.77", "198.51.100.1")
        field.send(alice, bob_outside)  # comes too early: nobody at headquarters has asked for it
        assert field.heard(bob) is None
        field.send(bob, alice_outside)
        assert field.heard(alice) == bob_outside
        field.send(alice, bob_outside)
        assert field.heard(bob) == alice_outside


def test_no_hole_leads_from_a_symmetric_nat_to_a_port_restricted_one():
    with KernelLab(topologies.relayed_udp()) as lab, KernelField(lab) as field:
        field.open("edge", 3478)
        (alice, alice_outside), (bob, bob_outside) = (
            reflexive_of(field, "alice", 5000),
            reflexive_of(field, "bob", 6000),
        )
        for _ in range(2):
            field.send(alice, bob_outside)
            field.send(bob, alice_outside)
        assert field.heard(bob) is None
        assert field.heard(alice) is None


def test_firewalls_and_forwards_do_what_they_say():
    office = topologies.reflexive().with_router("home-nat", firewall=Firewall(tcp_ports=(443,)))
    forward = Forward("udp", 80, Address("10.0.0.20", 6000))
    office = office.with_router("hq-nat", nat=Nat(forwards=(forward,)))
    with KernelLab(office) as lab, KernelField(lab) as field:
        edge, bob = field.open("edge", 3478), field.open("bob", 6000)
        field.send(edge, Address("198.51.100.1", 80))
        assert field.heard(bob) == edge
        field.send(bob, edge)
        assert field.heard(edge) == Address("198.51.100.1", 80)
        with lab.enter("edge"):
            servers = [socket.create_server(("198.51.100.2", port)) for port in (443, 5061)]
        with servers[0], servers[1], lab.enter("alice"):
            socket.create_connection(("198.51.100.2", 443), timeout=5).close()
            with pytest.raises(TimeoutError):
                socket.create_connection(("198.51.100.2", 5061), timeout=0.3)


@pytest.mark.parametrize(("filtering", "welcome"), [(EI, ["edge", "names"]), (AD, ["edge"]), (APD, [])])
def test_connections_come_in_where_the_filter_of_a_mapping_lets_them(filtering, welcome):
    with KernelLab(topologies.nats(Nat(EI, filtering), Nat())) as lab, contextlib.ExitStack() as stack:
        with lab.enter("edge"):
            server = stack.enter_context(socket.create_server(("198.51.100.2", 443)))
        with lab.enter("alice"):
            listening = stack.enter_context(
                socket.create_server(("192.168.1.20", 5000), reuse_port=True, backlog=5)
            )
            out = stack.enter_context(socket.socket())
        out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        out.bind(("192.168.1.20", 5000))
        out.settimeout(5)
        out.connect(("198.51.100.2", 443))
        accepted, outside = server.accept()
        stack.enter_context(accepted)
        came = []
        for host in ("edge", "names"):
            with lab.enter(host), contextlib.suppress(TimeoutError):
                socket.create_connection(outside, timeout=0.4).close()
                came.append(host)
        assert came == welcome
        listening.settimeout(0.1)
        for host in came:
            visitor, address = listening.accept()
            stack.enter_context(visitor)
            assert address[0] == lab.topology.host(host).ips[0]


def test_plain_routers_only_route():
    with KernelLab(topologies.nats(None, None)) as lab, KernelField(lab) as field:
        alice, bob = field.open("alice", 5000), field.open("bob", 6000)
        field.send(alice, bob)
        assert field.heard(bob) == alice


def test_a_mapping_is_forgotten_when_nothing_has_passed_it_in_either_direction():
    # The same story in the virtual world: tests/lab/world/test_nat.py, with inbound_refresh.
    office = topologies.nats(Nat(mapping_timeout=1.0, inbound_refresh=True), Nat())
    with KernelLab(office) as lab, KernelField(lab) as field:
        edge = field.open("edge", 3478)
        alice, outside = reflexive_of(field, "alice", 5000)
        for _ in range(3):
            time.sleep(0.6)
            field.send(edge, outside)
            assert field.heard(alice) == edge
        time.sleep(2.1)
        field.send(edge, outside)
        assert field.heard(alice) is None


def test_ipv6_goes_through_a_firewall_untranslated_and_only_when_asked_for():
    with KernelLab(topology("dual-stack", "ipv6")) as lab, contextlib.ExitStack() as stack:
        sockets = []
        for host, ip in (("alice", "2001:db8:a::20"), ("bob", "2001:db8:b::20")):
            with lab.enter(host):
                sockets.append(stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)))
            sockets[-1].bind((ip, 5000))
            sockets[-1].settimeout(0.3)
        alice, bob = sockets
        alice.sendto(b"too early", ("2001:db8:b::20", 5000))
        with pytest.raises(TimeoutError):
            bob.recv(64)
        bob.sendto(b"an answer, to a firewall", ("2001:db8:a::20", 5000))
        assert alice.recvfrom(64)[1][:2] == ("2001:db8:b::20", 5000)
        alice.sendto(b"asked for", ("2001:db8:b::20", 5000))
        assert bob.recv(64) == b"asked for"


def test_udp_can_be_blocked_in_ipv6_too():
    blocking = topology("ipv6", "open").with_router("alice-router6", firewall=Firewall(block_udp=True))
    with KernelLab(blocking) as lab:
        with lab.enter("edge"):
            udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            udp.bind(("2001:db8::2", 3478))
            tcp = socket.create_server(("2001:db8::2", 3478), family=socket.AF_INET6)
        with udp, tcp, lab.enter("alice"):
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as alice:
                alice.sendto(b"hello", ("2001:db8::2", 3478))
            socket.create_connection(("2001:db8::2", 3478), timeout=5).close()
            udp.settimeout(0.1)
            with pytest.raises(TimeoutError):
                udp.recv(64)


def test_sending_into_nowhere_is_no_error():
    with KernelLab(topologies.reflexive()) as lab, KernelField(lab) as field:
        edge = field.open("edge", 3478)
        for nowhere in ("192.168.1.20", "203.0.113.9"):
            field.send(edge, Address(nowhere, 1))
        assert field.heard(edge) is None


def test_a_thread_comes_back_from_where_it_was():
    here = os.readlink("/proc/thread-self/ns/net")
    with KernelLab(topologies.one_lan()) as lab:
        with contextlib.suppress(ZeroDivisionError), lab.enter("alice"):
            there = os.readlink("/proc/thread-self/ns/net")
            raise ZeroDivisionError
        assert there != here
        assert os.readlink("/proc/thread-self/ns/net") == here
        with pytest.raises(UsageError, match="no node is called 'carol'; there are alice"):
            lab.enter("carol")


def test_nothing_is_left_of_a_laboratory(monkeypatch):
    links, threads, descriptors = os.listdir("/sys/class/net"), threading.active_count(), open_descriptors()
    with KernelLab(topologies.reflexive()) as lab:
        # One that ignores being asked, one that left a child behind, one that is simply gone.
        stubborn = lab.popen(
            "alice", ["sh", "-c", "trap '' TERM; echo $$; sleep 600"], stdout=subprocess.PIPE
        )
        leaver = lab.popen("edge", ["setsid", "sh", "-c", "sleep 600 & echo $!"], stdout=subprocess.PIPE)
        lab.popen("bob", ["true"]).wait(5)
        pids = [int(process.stdout.readline()) for process in (stubborn, leaver)]
        leaver.wait(5)
        directory = Path(lab._directory.name)
        monkeypatch.setattr(lab_module, "GRACE", 0.2)
    assert not any(lives(pid) for pid in pids)
    assert not directory.exists()
    assert (os.listdir("/sys/class/net"), threading.active_count(), open_descriptors()) == (
        links,
        threads,
        descriptors,
    )
    lab.close()
    with pytest.raises(UsageError, match="the laboratory is closed"):
        lab.popen("alice", ["true"])


def lives(pid):
    """Whether a process still runs; a zombie that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_laboratory_that_cannot_be_built_cleans_up(monkeypatch):
    descriptors = open_descriptors()
    monkeypatch.setattr(lab_module.KernelLab, "_serve_names", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError), KernelLab(topologies.reflexive()):
        pass
    assert open_descriptors() == descriptors
    impossible = topologies.nats(Nat(AD, APD, filter_by="endpoint"), Nat())
    with pytest.raises(EnvironmentFailure, match="home-nat: no kernel does address-dependent mapping with"):
        KernelLab(impossible).__enter__()


def test_it_stands_inside_an_unprivileged_user_namespace_too():
    works = subprocess.run(["unshare", "-Urn", "true"], capture_output=True, timeout=20).returncode == 0
    if not works:
        pytest.skip("user namespaces are not allowed here")
    script = (
        "from iceway.lab import topologies\n"
        "from iceway.lab.namespaces import KernelLab, available, launcher\n"
        "from iceway.lab.probe import KernelField, measure\n"
        "assert available()[0], available()\n"
        "assert launcher() == ()\n"
        "with KernelLab(topologies.relayed_udp()) as lab, KernelField(lab) as field:\n"
        "    print(measure(field, 'alice', 'edge', 'names').mapping)\n"
        "    print(lab.popen('alice', ['getent', 'hosts', 'av.example.test'], stdout=-1).communicate()[0].decode())\n"
    )
    done = subprocess.run(
        ["unshare", "-Urn", "--", sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.split()[:2] == ["address-and-port-dependent", "198.51.100.2"]


def test_who_has_the_rights_needs_no_launcher():
    assert launcher() == ()


def test_who_has_no_rights_is_told_what_to_do():
    script = "from iceway.lab.namespaces import available, launcher\nprint(available())\nlauncher()"
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.startswith("(False, 'no network namespaces for this process")
    assert "run as root, or under `unshare -Urn`" in done.stdout
    assert "EnvironmentFailure: kernel networks are not available" in done.stderr


def test_a_missing_tool_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(kernel.shutil, "which", lambda tool, path: None if tool == "nft" else tool)
    assert available() == (False, "`nft` is missing: install nftables")


def test_a_command_that_fails_says_what_it_complained_about():
    with (
        KernelLab(topologies.one_lan()) as lab,
        pytest.raises(EnvironmentFailure, match=r"ip link set nothing up.*nothing"),
    ):
        lab._namespaces["alice"].run("ip", "link", "set", "nothing", "up")
