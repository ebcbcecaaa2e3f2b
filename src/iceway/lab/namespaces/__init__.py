"""The same topologies on real kernels: network namespaces, veth, nftables. Start at `KernelLab`."""

from iceway.lab.namespaces.kernel import available, launcher
from iceway.lab.namespaces.lab import KernelLab

__all__ = ["KernelLab", "available", "launcher"]
