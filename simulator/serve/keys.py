"""Names of KV blocks by content: a block's key is the hash of its token ids and of the key before it. Inputs are token ids."""

from array import array
from collections.abc import Hashable
from hashlib import blake2b

KEY_BYTES = 16


def block_keys(ids: "array[int]", block_tokens: int) -> list[Hashable]:
    """The keys of the full blocks: equal keys mean equal content, and equal content before it."""
    content, width = memoryview(ids).cast("B"), block_tokens * ids.itemsize
    key, keys = b"", []
    for start in range(0, len(ids) // block_tokens * width, width):
        digest = blake2b(key, digest_size=KEY_BYTES)
        digest.update(content[start : start + width])
        key = digest.digest()
        keys.append(key)
    return list[Hashable](keys)
