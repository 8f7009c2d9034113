"""Which partition a key goes to: librdkafka's partitioners, worked out before there is a report.

Delivery has to know it to hold back what goes to a partition that is late, and only that.
Sources: librdkafka's `rdmurmur2.c` and `rd_kafka_msg_partitioner_*`; murmur2 is the Java client's, too.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache

_M, _SEED, _MASK = 0x5BD1E995, 0x9747B28C, 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """The 32-bit MurmurHash2 of a key, as Kafka's clients use it."""
    length = len(key)
    h = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if length != whole:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


#: By the property `partitioner`; with the others a key has no partition that could be known before.
_HASHES: dict[str, Callable[[bytes], int]] = {
    "murmur2": lambda key: murmur2(key) & 0x7FFFFFFF,
    "murmur2_random": lambda key: murmur2(key) & 0x7FFFFFFF,
    "consistent": zlib.crc32,
    "consistent_random": zlib.crc32,
}


def partitioner(name: str) -> Callable[[bytes, int], int] | None:
    """What tells the partition of a key, given how many there are; None where nothing does.

    Args:
        name: librdkafka's property `partitioner`.
    """
    hash_of = _HASHES.get(name)
    if hash_of is None:
        return None

    @lru_cache(maxsize=4096)
    def partition(key: bytes, partitions: int) -> int:
        return hash_of(key) % partitions

    return partition
