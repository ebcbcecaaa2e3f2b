"""The probe finds out what a NAT was told to be; on kernels it finds the same as in the virtual world."""

import pytest

from iceway.lab import topologies
from iceway.lab.namespaces import KernelLab
from iceway.lab.probe import KernelField, Measurement, WorldField, measure
from iceway.lab.topology import Behaviour, Firewall, Nat
from iceway.lab.world import World

EI, AD, APD = Behaviour


def in_world(topology):
    return measure(WorldField(World(topology, seed=5)), "alice", "edge", "names")


@pytest.mark.parametrize("preserved", [True, False])
@pytest.mark.parametrize("filtering", Behaviour)
@pytest.mark.parametrize("mapping", Behaviour)
def test_the_probe_finds_what_the_nat_was_told_to_be(mapping, filtering, preserved):
    office = topologies.nats(Nat(mapping, filtering, port_preservation=preserved), Nat())
    assert in_world(office) == Measurement(mapping, filtering, preserved)


def test_the_probe_says_when_nothing_comes_out():
    office = topologies.reflexive().with_router("home-nat", firewall=Firewall(block_udp=True))
    assert in_world(office) == Measurement(None)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "home",
    [
        *(Nat(EI, filtering) for filtering in Behaviour),
        *(
            Nat(mapping, filtering, port_preservation=False)
            for mapping in Behaviour
            for filtering in Behaviour
        ),
        Nat(AD, APD),
        Nat(APD, EI),
    ],
    ids=lambda nat: f"{nat.mapping}-{nat.filtering}-{'preserving' if nat.port_preservation else 'anew'}",
)
def test_kernels_and_the_virtual_world_agree(home):
    office = topologies.nats(home, Nat())
    with KernelLab(office) as lab, KernelField(lab) as field:
        measured = measure(field, "alice", "edge", "names")
    assert measured == in_world(office)
    assert (measured.mapping, measured.filtering) == (home.mapping, home.filtering)


@pytest.mark.kernel
@pytest.mark.parametrize("filtering", Behaviour)
def test_kernels_and_the_virtual_world_agree_on_firewalls_without_nat(filtering):
    office = topologies.nats(None, Nat()).with_router("home-nat", firewall=Firewall(filtering=filtering))
    with KernelLab(office) as lab, KernelField(lab) as field:
        measured = measure(field, "alice", "edge", "names")
    assert measured == in_world(office) == Measurement(EI, filtering, preserved=True)


@pytest.mark.kernel
def test_kernels_and_the_virtual_world_agree_that_no_udp_comes_out():
    office = topologies.relayed_tcp()
    with KernelLab(office) as lab, KernelField(lab) as field:
        assert measure(field, "bob", "edge", "names") == Measurement(None)
