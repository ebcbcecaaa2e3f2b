"""The virtual world: any machine on any topology, in virtual time. Start at `World`."""

from iceway.lab.world.program import Program
from iceway.lab.world.tls import Certificate
from iceway.lab.world.world import World

__all__ = ["Certificate", "Program", "World"]
