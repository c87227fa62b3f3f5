"""The attention of DeepSeek V4: compressed sparse (CSA), heavily compressed (HCA) and window-only layers, all with one KV head.

Inputs come from a model card. Every layer keeps a sliding window uncompressed; CSA picks among entries that stand for few tokens each by an
indexer, HCA attends to all of its entries, which stand for many.
"""

from dataclasses import dataclass

STATE_BYTES = 4
"""The compressors keep their running state in float32."""


@dataclass(frozen=True)
class CompressedAttention:
    """CSA, HCA and window-only layers; ``csa_ratio`` and ``hca_ratio`` are the tokens that one compressed entry stands for."""

    layers: int
    hidden: int
    heads: int
    head_dim: int
    q_lora_rank: int
    o_groups: int
    o_lora_rank: int
    csa_layers: int
    csa_ratio: int
    hca_layers: int
    hca_ratio: int
    window_tokens: int
    index_heads: int
    index_dim: int
    index_topk: int

    @property
    def kv_heads(self) -> int:
        """One."""
        return 1

    @property
    def state_heads(self) -> int:
        """One."""
        return 1

    @property
    def indexed(self) -> bool:
        """CSA layers have an indexer."""
        return True

    @property
    def index_layers(self) -> int:
        """The CSA layers."""
        return self.csa_layers

    @property
    def entry_values(self) -> int:
        """One head, whose keys are its values."""
        return self.head_dim

    @property
    def settled_tokens(self) -> int:
        """Tokens from which on the indexer leaves entries out."""
        return self.index_topk * self.csa_ratio

    def parameters(self) -> int:
        """Projections of all layers, with the indexer's queries."""
        return self.layers * self.draft_parameters() + self.csa_layers * self.q_lora_rank * self.index_heads * self.index_dim

    def wide_parameters(self) -> int:
        """Compressors, and the indexer's keys and head weights."""
        compressor = 2 * self.hidden * self.head_dim
        index = 2 * 2 * self.hidden * self.index_dim + self.hidden * self.index_heads
        return self.csa_layers * (2 * compressor + index) + self.hca_layers * compressor

    def draft_parameters(self) -> int:
        """Low-rank queries, one shared KV head and grouped low-rank output of one layer."""
        width = self.heads * self.head_dim
        query = self.hidden * self.q_lora_rank + self.q_lora_rank * width
        return query + self.hidden * self.head_dim + width * self.o_lora_rank + self.o_groups * self.o_lora_rank * self.hidden

    def held_bytes(self, entry: float, index: float, tokens: int) -> float:
        """Window, compressed entries, indexer keys and the compressors' state."""
        window = self.layers * min(tokens, self.window_tokens) * entry
        csa = tokens // self.csa_ratio * (entry + index) + self._csa_state_bytes()
        hca = tokens // self.hca_ratio * entry + self._hca_state_bytes()
        return window + self.csa_layers * csa + self.hca_layers * hca

    def growth_bytes(self, entry: float, index: float) -> float:
        """Compressed entries and indexer keys per token."""
        return self.csa_layers * (entry + index) / self.csa_ratio + self.hca_layers * entry / self.hca_ratio

    def fixed_bytes(self, entry: float) -> float:
        """Full windows and the compressors' state."""
        window = self.layers * self.window_tokens * entry
        return window + self.csa_layers * self._csa_state_bytes() + self.hca_layers * self._hca_state_bytes()

    def read_bytes(self, entry: float, index: float, context_tokens: float) -> float:
        """The window and the entries attended to, and all indexer keys."""
        return self._keys(context_tokens) * entry + self.csa_layers * context_tokens / self.csa_ratio * index

    def flops(self, context_tokens: float) -> float:
        """Attention over the entries, and the indexer's scores."""
        scores = self.csa_layers * context_tokens / self.csa_ratio * self.index_heads * self.index_dim
        return 4.0 * self.heads * self.head_dim * self._keys(context_tokens) + 2.0 * scores

    def prompt_flops(self, context_tokens: float) -> float:
        """As in decoding."""
        return self.flops(context_tokens)

    def _keys(self, context_tokens: float) -> float:
        """Entries that one token attends to, over all layers."""
        csa = min(self.index_topk, context_tokens / self.csa_ratio)
        return self.layers * self.window_tokens + self.csa_layers * csa + self.hca_layers * context_tokens / self.hca_ratio

    def _csa_state_bytes(self) -> int:
        """CSA compresses overlapping pairs of groups, so it keeps twice its ratio, twice as wide; the indexer has its own compressor."""
        return 2 * self.csa_ratio * 2 * (self.head_dim + self.index_dim) * STATE_BYTES

    def _hca_state_bytes(self) -> int:
        return 2 * self.hca_ratio * self.head_dim * STATE_BYTES
