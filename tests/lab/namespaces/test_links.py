"""Links of the kernel laboratory do to packets what the same links do in the virtual world."""

import itertools
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.lab import topologies
from iceway.lab.namespaces import KernelLab, carrier
from iceway.lab.topology import Host, Interface, Link, Segment, Topology
from iceway.lab.world import World
from tests.lab.toys import Desk

pytestmark = pytest.mark.kernel

SEED = 5
A, B = "10.0.0.1", "10.0.0.2"
PORT = 9


def pair(link):
    hosts = tuple(Host(name, (Interface("lan", ip),)) for name, ip in (("a", A), ("b", B)))
    return Topology("pair", (Segment("lan", "10.0.0.0/24", link),), hosts)


def sockets(lab):
    """A UDP socket on each host, that of `b` with room for whole bursts."""
    found = []
    for host, ip in (("a", A), ("b", B)):
        with lab.enter(host):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.settimeout(5.0)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.bind((ip, PORT))
        found.append(one)
    return found


def on_kernel(link, *, count, interval, size):
    """Numbered datagrams from `a` to `b`: the numbers that arrived, in order, and when they did."""
    with KernelLab(pair(link), SEED) as lab:
        a, b = sockets(lab)
        with a, b:
            arrived = []
            silence = 0.3 + link.delay + link.jitter

            def listen():
                b.settimeout(5.0)
                while True:
                    try:
                        number = int.from_bytes(b.recv(2048)[:4], "big")
                    except TimeoutError:
                        return
                    arrived.append((number, time.monotonic()))
                    b.settimeout(silence)

            listener = threading.Thread(target=listen)
            listener.start()
            start = time.monotonic()
            for number in range(count):
                time.sleep(max(0.0, start + number * interval - time.monotonic()))
                a.sendto(number.to_bytes(4, "big").ljust(size, b"-"), (B, PORT))
            listener.join()
    return arrived


def in_world(link, *, count, interval, size):
    world = World(pair(link), SEED)
    a, b = Desk(world, "a"), Desk(world, "b")
    ours, theirs = a.opens(A), b.opens(f"{B}:{PORT}")
    skip = len(b.toy.instants)
    for number in range(count):
        a.sends(ours, theirs, number.to_bytes(4, "big").ljust(size, b"-"))
        world.advance(interval)
    world.advance(5)
    return [
        (int.from_bytes(data[:4], "big"), at)
        for data, at in zip(b.toy.data, b.toy.instants[skip:], strict=True)
    ]


def both(link, *, count=2000, interval=0.0005, size=100):
    """The same stream on kernels and in the world: the numbers that arrived, and the instants."""
    streams = [play(link, count=count, interval=interval, size=size) for play in (on_kernel, in_world)]
    return [([number for number, _ in stream], [at for _, at in stream]) for stream in streams]


@pytest.mark.parametrize("delay", [0.0005, 0.02, 0.15])
def test_a_round_trip_takes_what_it_takes_in_the_world(delay):
    link = Link(delay=delay)
    with KernelLab(pair(link)) as lab:
        a, b = sockets(lab)
        with a, b:
            trips = []
            for _ in range(max(7, round(min(40, 1 / delay)))):
                start = time.monotonic()
                a.sendto(b"ping", (B, PORT))
                b.sendto(b.recv(64), (A, PORT))
                assert a.recv(64) == b"ping"
                trips.append(time.monotonic() - start)
    world = World(pair(link))
    client, echo = Desk(world, "a"), Desk(world, "b", echo=True)
    ours, theirs = client.opens(A), echo.opens(f"{B}:{PORT}")
    start = world.now
    client.sends(ours, theirs, b"ping")
    assert world.run_until(lambda: client.toy.data, 1.0)
    simulated = world.now - start
    assert min(trips) >= simulated
    assert statistics.median(trips) == pytest.approx(simulated, abs=0.003)


def test_the_packets_that_are_lost_are_those_that_the_world_loses():
    (kernel, _), (world, _) = both(Link(loss=0.05))
    assert kernel == world
    # Three standard deviations of a binomial distribution: 2000 packets, 1 in 20.
    assert abs(2000 - len(kernel) - 100) < 3 * (2000 * 0.05 * 0.95) ** 0.5


def test_copies_come_of_the_same_packets_as_in_the_world():
    (kernel, _), (world, _) = both(Link(delay=0.01, duplicate=0.1))
    assert kernel == world
    assert 2000 < len(kernel) < 2400


def test_packets_held_back_are_overtaken_and_no_others():
    (kernel, _), (world, _) = both(Link(delay=0.01, jitter=0.01, reorder=0.05), count=500, interval=0.002)
    assert sorted(kernel) == sorted(world) == list(range(500))
    late = [{n for n, after in itertools.pairwise(numbers) if after < n} for numbers in (kernel, world)]
    assert late[0]
    assert abs(len(late[0]) - len(late[1])) <= 10  # who passes whom is a matter of a millisecond


def test_a_rate_makes_packets_queue_and_a_full_queue_drops():
    # 72 bytes and 28 of headers are 10 ms on 80 kbit/s; a burst of 100 is a second's worth, a quarter fits.
    (kernel, instants), (world, _) = both(Link(rate=80_000), count=100, size=72, interval=0.0)
    assert len(world) == 25
    assert 25 <= len(kernel) < 50, "room is only made while the burst is still being sent"
    gaps = [after - before for before, after in itertools.pairwise(instants)]
    assert statistics.median(gaps) == pytest.approx(0.01, abs=0.002)


def test_a_connection_carries_every_byte_across_delay_and_loss():
    sent = os.urandom(1 << 20)
    with KernelLab(pair(Link(delay=0.01, loss=0.01)), SEED) as lab:
        with lab.enter("a"):
            listening = socket.create_server((A, PORT))
        received = bytearray()

        def take():
            with listening, listening.accept()[0] as accepted:
                while data := accepted.recv(65536):
                    received.extend(data)

        taker = threading.Thread(target=take)
        taker.start()
        with lab.enter("b"), socket.create_connection((A, PORT), timeout=10) as connection:
            connection.settimeout(20)
            connection.sendall(sent)
        taker.join(20)
    assert bytes(received) == sent


def test_the_links_die_with_whoever_held_them():
    script = (
        "import sys\n"
        "from iceway.lab import topologies\n"
        "from iceway.lab.namespaces import KernelLab\n"
        "with KernelLab(topologies.reflexive()) as lab:\n"
        "    print(lab.wires, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        wires = int(holder.stdout.readline())
        assert b"iceway.lab.wires" in Path(f"/proc/{wires}/cmdline").read_bytes()
        holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{wires}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{wires}").exists()


def test_links_that_break_are_told_when_the_laboratory_ends():
    with (
        pytest.raises(EnvironmentFailure, match=r"links broke while it stood\. exit status -9"),
        KernelLab(pair(Link(delay=0.01))) as lab,
    ):
        os.kill(lab.wires, signal.SIGKILL)
    assert lab.wires is None


def test_links_that_do_not_come_up_are_told_in_words(monkeypatch):
    monkeypatch.setattr(carrier, "argument", lambda seed, wires: "nonsense")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(EnvironmentFailure, match=r"links do not come up[\s\S]*JSONDecodeError"):
        KernelLab(pair(Link(delay=0.01))).__enter__()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_laboratory_of_cables_needs_no_process():
    with KernelLab(pair(Link())) as lab:
        assert lab.wires is None
    with KernelLab(topologies.reflexive()) as lab:
        assert lab.wires is not None
