"""The KV blocks of one rank, one by one: free queue and prefix cache as vLLM V1 keeps them, and the host tier behind them.

Inputs come from the reference scheduler.

A block holds the KV of ``block_tokens`` tokens. A full block may carry a *key* that names its content and all content before it; a free
block keeps its key until somebody takes it, so a later call with the same prefix finds it.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence


class BlockPool:
    """Blocks ``0 .. size - 1``, all free at first.

    The free queue is taken from the left. A block whose last holder lets go joins it at the right when it has a key, at the left when not;
    a call gives its blocks back last block first, so the tail of a prefix is lost before its head.
    """

    def __init__(self, size: int, host: "NameStore | None" = None) -> None:
        self.size = size
        self.host = host
        self.queue: OrderedDict[int, None] = OrderedDict((block, None) for block in range(size))
        self.key_of: dict[int, Hashable] = {}
        self.block_with: dict[Hashable, int] = {}
        self.holders = [0] * size
        self.evicted = 0

    @property
    def free(self) -> int:
        """Blocks that nobody holds."""
        return len(self.queue)

    def match(self, keys: Sequence[Hashable]) -> list[int]:
        """The cached blocks of the longest prefix of ``keys``. Touches nothing."""
        found = []
        for key in keys:
            if key not in self.block_with:
                break
            found.append(self.block_with[key])
        return found

    def unheld(self, blocks: Sequence[int]) -> int:
        """How many of ``blocks`` stand in the free queue."""
        return sum(self.holders[block] == 0 for block in blocks)

    def hold(self, blocks: Sequence[int]) -> None:
        """Share cached blocks: they leave the free queue."""
        for block in blocks:
            self.queue.pop(block, None)
            self.holders[block] += 1

    def take(self, count: int) -> list[int]:
        """Take free blocks; what they held is forgotten."""
        taken = []
        for _ in range(count):
            block, _ = self.queue.popitem(last=False)
            if block in self.key_of:
                key = self.key_of.pop(block)
                del self.block_with[key]
                self.evicted += 1
                if self.host:
                    self.host.store(key)
            self.holders[block] = 1
            taken.append(block)
        return taken

    def name(self, block: int, key: Hashable) -> bool:
        """Make a full block findable; False when its content is cached already."""
        if key in self.block_with:
            return False
        self.key_of[block] = key
        self.block_with[key] = block
        return True

    def give_back(self, blocks: Sequence[int]) -> None:
        """Let go of a call's blocks, the last one first."""
        for block in reversed(blocks):
            self.holders[block] -= 1
            if self.holders[block] == 0:
                self.queue[block] = None
                if block not in self.key_of:
                    self.queue.move_to_end(block, last=False)


class NameStore:
    """Names of blocks that lie somewhere else (host memory), or from which a prefix can be resumed; the oldest leave first.

    A host tier takes in what HBM evicts, and what is brought back leaves it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys: OrderedDict[Hashable, None] = OrderedDict()
        self.stored = 0

    def store(self, key: Hashable) -> None:
        """Take in a name, or make it the newest."""
        self.keys.pop(key, None)
        self.keys[key] = None
        self.stored += 1
        if len(self.keys) > self.size:
            self.keys.popitem(last=False)

    def match(self, keys: Sequence[Hashable]) -> int:
        """How many of ``keys`` lie here, up to the first that does not. Touches nothing."""
        return next((i for i, key in enumerate(keys) if key not in self.keys), len(keys))

    def last(self, keys: Sequence[Hashable]) -> int:
        """How many of ``keys`` come before the last one that lies here, that one included; 0 when none does."""
        return next((i for i in range(len(keys), 0, -1) if keys[i - 1] in self.keys), 0)

    def take_out(self, keys: Sequence[Hashable]) -> None:
        """Let names go."""
        for key in keys:
            del self.keys[key]
