"""Hybrid attention: most layers are linear (gated delta rule) and keep a state of one size, the others are gated GQA.

Inputs come from a model card (Qwen3.5). A linear layer has key heads and value heads of its own; its state is a matrix per value head, and
the last inputs of a short convolution.
"""

from dataclasses import dataclass

STATE_BYTES = 4
"""States are kept in float32 (``mamba_ssm_dtype``)."""
CONVOLUTION_BYTES = 2
"""Inputs of the convolution are kept in BF16."""
STATE_FLOPS = 8
"""Per value of the state and token: decay it, read it by key, correct it by an outer product, read it by query."""


@dataclass(frozen=True)
class HybridAttention:
    """GQA with a gate on its output in ``layers - linear_layers`` layers, the gated delta rule in ``linear_layers``."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    linear_layers: int
    linear_key_heads: int
    linear_value_heads: int
    linear_key_dim: int
    linear_value_dim: int
    convolution: int

    @property
    def state_heads(self) -> int:
        """Key heads of the linear layers: their states are split between GPUs by them."""
        return self.linear_key_heads

    @property
    def indexed(self) -> bool:
        """No indexer."""
        return False

    @property
    def index_layers(self) -> int:
        """None."""
        return 0

    @property
    def entry_values(self) -> int:
        """A key and a value per KV head of a GQA layer."""
        return 2 * self.kv_heads * self.head_dim

    @property
    def settled_tokens(self) -> int:
        """Straight from the first token on."""
        return 1

    @property
    def full_layers(self) -> int:
        """GQA layers."""
        return self.layers - self.linear_layers

    def parameters(self) -> int:
        """Projections and convolutions of all layers."""
        values = self.linear_value_heads * self.linear_value_dim
        mixed = 2 * self.linear_key_heads * self.linear_key_dim + values
        linear = self.hidden * (mixed + values + 2 * self.linear_value_heads) + mixed * self.convolution + values * self.hidden
        return self.full_layers * self.draft_parameters() + self.linear_layers * linear

    def wide_parameters(self) -> int:
        """None."""
        return 0

    def draft_parameters(self) -> int:
        """Queries and their gates, keys, values and output of one GQA layer."""
        return self.hidden * self.head_dim * (3 * self.heads + 2 * self.kv_heads)

    def held_bytes(self, entry: float, index: float, tokens: int) -> float:
        """Entries of the GQA layers, and the states."""
        return self.growth_bytes(entry, index) * tokens + self.fixed_bytes(entry)

    def growth_bytes(self, entry: float, index: float) -> float:
        """An entry in every GQA layer."""
        return self.full_layers * entry

    def fixed_bytes(self, entry: float) -> float:
        """The states of the linear layers."""
        mixed = 2 * self.linear_key_heads * self.linear_key_dim + self.linear_value_heads * self.linear_value_dim
        return self.linear_layers * (self._state_values() * STATE_BYTES + mixed * (self.convolution - 1) * CONVOLUTION_BYTES)

    def read_bytes(self, entry: float, index: float, context_tokens: float) -> float:
        """All entries; the states are read and written."""
        return self.growth_bytes(entry, index) * context_tokens + 2 * self.fixed_bytes(entry)

    def flops(self, context_tokens: float) -> float:
        """Attention over all entries, and one update of the states."""
        full = 4.0 * self.full_layers * self.heads * self.head_dim * context_tokens
        return full + STATE_FLOPS * self.linear_layers * self._state_values()

    def prompt_flops(self, context_tokens: float) -> float:
        """As in decoding."""
        return self.flops(context_tokens)

    def _state_values(self) -> int:
        """Values of the states of one layer."""
        return self.linear_value_heads * self.linear_key_dim * self.linear_value_dim
