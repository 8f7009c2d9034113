"""Where the records of an outbox are to go, as its `owner` tells, and so who may take them over.

The same cluster and the same topics: that is all that is asked. A cluster is known by its own ID, once it has answered;
before that, by its addresses, of which one in common is enough. So a broker more in the list, or another port, costs
nothing, while two clusters that have the same address one after the other, or in two networks, are kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class Claim(Enum):
    """Whether a process may take over what another one left."""

    OURS = "ours"
    OPEN = "open"  # for a cluster whose ID is known, by a process that does not know its own cluster's yet
    OTHERS = "others'"


class Destination(NamedTuple):
    """Where records are to go.

    Attributes:
        servers: the cluster's addresses, `host:port,host:port`; empty where that is not known.
        cluster_id: the cluster's own ID; empty where it has none, None while it has not answered.
        topics: what the topics' names are made of, prefix and namespace; None where that is not known.
    """

    servers: str
    cluster_id: str | None = None
    topics: tuple[str, str] | None = None

    @classmethod
    def of(cls, owner: Mapping[str, object]) -> Destination:
        """What an `owner` tells, be it written by an older version, or by anybody."""
        servers, cluster_id, prefix, namespace = (
            found if isinstance(found, str) else None
            for found in map(owner.get, ("bootstrap_servers", "cluster_id", "topic_prefix", "namespace"))
        )
        topics = None if prefix is None or namespace is None else (prefix, namespace)
        return cls(servers or "", cluster_id, topics)

    def claims(self, left: Destination, *, same_configuration: bool) -> Claim:
        """Whether a process with this destination may take over what was left for another one.

        Args:
            left: that other one.
            same_configuration: whether it is in this process's own directory, which the very same addresses and
                topics name: older versions, and one that was killed at its start, tell no more.
        """
        if self.topics is not None and left.topics is not None and self.topics != left.topics:
            return Claim.OTHERS
        if left.cluster_id:
            if self.cluster_id is None:
                return Claim.OPEN
            return Claim.OURS if left.cluster_id == self.cluster_id else Claim.OTHERS
        return Claim.OURS if same_configuration or self._addresses() & left._addresses() else Claim.OTHERS

    def _addresses(self) -> set[str]:
        return {address.strip().lower() for address in self.servers.split(",") if address.strip()}
