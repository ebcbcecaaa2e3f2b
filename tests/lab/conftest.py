"""Tests on kernel networks need the right to build them; `tests/conftest.py` says when they run at all."""

import pytest

from iceway.lab.namespaces import available
from tests.conftest import unavailable


@pytest.fixture(autouse=True)
def _kernel_networks(request):
    if request.node.get_closest_marker("kernel"):
        allowed, reason = available()
        if not allowed:
            unavailable(reason)
