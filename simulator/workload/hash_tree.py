"""A compressed radix tree of prompts as chained block hashes, to find what they share. Inputs: lists of hash ids, as in logs of servers."""


class _Node:
    """A run of hash ids between two branch points; `owner` is the first prompt that has it."""

    __slots__ = ("after", "ids", "owner")

    def __init__(self, ids: list[int], owner: int) -> None:
        self.ids, self.owner = ids, owner
        self.after: dict[int, _Node] = {}


class HashTree:
    """The prompts of a thread of calls so far: adding one costs its length once, at the speed of a list compare.

    A prompt is named by a number of the caller's; methods return how many leading blocks of a prompt some prompt in the tree has, and the
    number of one that has them: the last one `extend` added where it does, else the first.
    """

    def __init__(self) -> None:
        self.root = _Node([], 0)
        self.last: list[int] = []
        self.last_end, self.last_number = self.root, -1

    def extend(self, ids: list[int], number: int) -> tuple[int, int]:
        """Adds the next prompt of the thread; what it shares is told as of before."""
        known = common_length(self.last, ids)
        # Most prompts extend the one before: start where that one ended.
        node, depth = (self.last_end, known) if known == len(self.last) else (self.root, 0)
        end, matched, owner = self._add(ids, number, node, depth, known)
        self.last, self.last_end, self.last_number = ids, end, number
        return matched, owner

    def join(self, ids: list[int], number: int) -> None:
        """Adds a prompt of another thread, which the next one here is not likely to extend."""
        self._add(ids, number, self.root, 0, 0)

    def find(self, ids: list[int]) -> tuple[int, int]:
        """What a prompt that is not added shares."""
        known = common_length(self.last, ids)
        _, _, _, matched, owner = self._descend(ids, self.root, 0, known)
        return matched, owner

    def _add(self, ids: list[int], number: int, node: _Node, depth: int, known: int) -> tuple[_Node, int, int]:
        """The node in which a prompt ends, and what it shares."""
        node, child, same, matched, owner = self._descend(ids, node, depth, known)
        if child is not None:
            node = _split(node, child, same)
        if matched < len(ids):
            node.after[ids[matched]] = below = _Node(ids[matched:], number)
            node = below
        return node, matched, owner

    def _descend(self, ids: list[int], node: _Node, depth: int, known: int) -> tuple[_Node, _Node | None, int, int, int]:
        """From a node that ends at `depth`: the last whole node of the path, the child that goes on for `same` blocks, and what is shared;
        the last prompt is known to share `known` blocks."""
        owner = self.last_number
        while depth < len(ids) and ids[depth] in node.after:
            child = node.after[ids[depth]]
            same = common_length(child.ids, ids[depth : depth + len(child.ids)])
            depth += same
            if depth > known:
                owner = child.owner
            if same < len(child.ids):
                return node, child, same, depth, owner
            node = child
        return node, None, 0, depth, owner


def _split(above: _Node, child: _Node, length: int) -> _Node:
    """Cuts a node in two and returns the upper part; the lower one stays the same object."""
    upper = _Node(child.ids[:length], child.owner)
    above.after[upper.ids[0]] = upper
    child.ids = child.ids[length:]
    upper.after[child.ids[0]] = child
    return upper


def common_length(one: list[int], other: list[int]) -> int:
    """Length of the common prefix of two lists, by slice compares."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
