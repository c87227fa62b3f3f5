"""Grouped-query attention (GQA): some query heads share a KV head, and some layers may look back no further than a sliding window.

Inputs come from a model card; multi-head attention is the case of as many KV heads as heads.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class GroupedAttention:
    """GQA in ``layers`` layers, of which ``window_layers`` see the last ``window_tokens`` tokens."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    window_layers: int = 0
    window_tokens: int = 0

    @property
    def state_heads(self) -> int:
        """Windows are split like all KV."""
        return self.kv_heads

    @property
    def indexed(self) -> bool:
        """GQA reads all that it may see."""
        return False

    @property
    def index_layers(self) -> int:
        """None."""
        return 0

    @property
    def settled_tokens(self) -> int:
        """The window, where there is one."""
        return max(1, self.window_tokens)

    @property
    def full_layers(self) -> int:
        """Layers that see the whole context."""
        return self.layers - self.window_layers

    @property
    def entry_values(self) -> int:
        """Values of one token's KV entry in one layer: a key and a value per KV head."""
        return 2 * self.kv_heads * self.head_dim

    def parameters(self) -> int:
        """Queries, keys, values and output of all layers; biases and norms are neglected."""
        return self.layers * self.draft_parameters()

    def wide_parameters(self) -> int:
        """None."""
        return 0

    def draft_parameters(self) -> int:
        """Queries, keys, values and output of one layer."""
        return 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim

    def held_bytes(self, entry: float, index: float, tokens: int) -> float:
        """All tokens in full layers, the last ones in window layers."""
        return self._keys(tokens) * entry

    def growth_bytes(self, entry: float, index: float) -> float:
        """One entry in every full layer."""
        return self.full_layers * entry

    def fixed_bytes(self, entry: float) -> float:
        """Full windows."""
        return self.window_layers * self.window_tokens * entry

    def read_bytes(self, entry: float, index: float, context_tokens: float) -> float:
        """All that is held."""
        return self._keys(context_tokens) * entry

    def flops(self, context_tokens: float) -> float:
        """A multiply and an add per value of keys and of values, for every query head."""
        return 4.0 * self.heads * self.head_dim * self._keys(context_tokens)

    def prompt_flops(self, context_tokens: float) -> float:
        """As in decoding."""
        return self.flops(context_tokens)

    def _keys(self, context_tokens: float) -> float:
        """Entries that one token attends to, over all layers."""
        return self.full_layers * context_tokens + self.window_layers * min(context_tokens, self.window_tokens)
