"""Whose datagram is it? What a mux knows of its agents, to tell their packets apart on one port.

A check names the agent: the first half of its USERNAME is a ufrag that the agent drew (RFC 8445 §7.2.2). An
answer comes back under the transaction id that the agent sent. Everything else belongs to whoever proved the
remote address last, and only a check that the agent found authentic moves an address from one to another. All
tables are bounded by agent, and what an agent forgets first is what it used least recently.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from iceway.core.address import Address

MAX_ADDRESSES = 64  # remote addresses of one agent
MAX_TRANSACTIONS = 128  # requests of one agent whose answers still find it

Way = tuple[Address, Address]


@dataclass(slots=True)
class _Known:
    """What leads to one agent. The dictionaries are sets in order of use."""

    ufrags: tuple[str, ...] = ()
    ways: OrderedDict[Way, None] = field(default_factory=OrderedDict)
    transactions: OrderedDict[bytes, None] = field(default_factory=OrderedDict)


class Routes:
    """Tables by user name, transaction and remote address."""

    def __init__(self) -> None:
        self._agents: dict[str, _Known] = {}
        self._by_ufrag: dict[str, str] = {}
        self._by_way: dict[Way, str] = {}
        self._by_transaction: dict[bytes, str] = {}

    # --- questions ---------------------------------------------------------------------------------------
    def of_ufrag(self, ufrag: str) -> str | None:
        return self._by_ufrag.get(ufrag)

    def of_transaction(self, transaction_id: bytes) -> str | None:
        return self._by_transaction.get(transaction_id)

    def of_way(self, local: Address, remote: Address) -> str | None:
        return self._by_way.get((local, remote))

    def __len__(self) -> int:
        return len(self._by_ufrag) + len(self._by_way) + len(self._by_transaction)

    # --- what agents do ----------------------------------------------------------------------------------
    def add(self, agent: str) -> None:
        self._agents[agent] = _Known()

    def remove(self, agent: str) -> None:
        known = self._agents.pop(agent)
        self._drop(agent, known.ufrags)
        for way in known.ways:
            del self._by_way[way]
        for transaction in known.transactions:
            del self._by_transaction[transaction]

    def answers_to(self, agent: str, ufrags: tuple[str, ...]) -> None:
        """The agent's ufrags now; a restart has two until the old session ends. If two agents ever draw the same
        one, it is whose it was first."""
        known = self._agents[agent]
        if ufrags == known.ufrags:
            return
        self._drop(agent, known.ufrags)
        for ufrag in ufrags:
            self._by_ufrag.setdefault(ufrag, agent)
        known.ufrags = ufrags

    def asked(self, agent: str, transaction_id: bytes) -> None:
        """The agent sent a request."""
        transactions = self._agents[agent].transactions
        if transaction_id in transactions:
            return  # a retransmission
        transactions[transaction_id] = None
        self._by_transaction[transaction_id] = agent
        while len(transactions) > MAX_TRANSACTIONS:
            oldest, _ = transactions.popitem(last=False)
            del self._by_transaction[oldest]

    def proved(self, agent: str, local: Address, remote: Address) -> None:
        """The agent found a check from there authentic: what else comes from there is the agent's, too."""
        way = local, remote
        before = self._by_way.get(way)
        if before is not None and before != agent:
            del self._agents[before].ways[way]
        self._by_way[way] = agent
        ways = self._agents[agent].ways
        ways[way] = None
        ways.move_to_end(way)
        while len(ways) > MAX_ADDRESSES:
            oldest, _ = ways.popitem(last=False)
            del self._by_way[oldest]

    def left(self, agent: str, local: Address) -> None:
        """The agent does not want this socket any more."""
        ways = self._agents[agent].ways
        for way in [way for way in ways if way[0] == local]:
            del ways[way], self._by_way[way]

    def _drop(self, agent: str, ufrags: tuple[str, ...]) -> None:
        for ufrag in ufrags:
            if self._by_ufrag.get(ufrag) == agent:
                del self._by_ufrag[ufrag]
