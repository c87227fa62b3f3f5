"""Multi-head latent attention (MLA): all heads share one low-rank KV entry; an indexer may pick the entries to attend to.

Inputs come from a model card: DeepSeek V3, R1 and Kimi K2 without an indexer, DeepSeek V3.2 and GLM-5 with one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LatentAttention:
    """MLA in every layer: an entry is ``kv_lora_rank`` latent and ``rope_dim`` rotary values; ``index_topk`` is 0 without an indexer."""

    layers: int
    hidden: int
    heads: int
    q_lora_rank: int
    kv_lora_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    index_heads: int = 0
    index_dim: int = 0
    index_topk: int = 0

    @property
    def kv_heads(self) -> int:
        """One: the latent entry serves all heads, so it is replicated under tensor parallelism."""
        return 1

    @property
    def state_heads(self) -> int:
        """One."""
        return 1

    @property
    def indexed(self) -> bool:
        """Whether there is an indexer."""
        return self.index_topk > 0

    @property
    def index_layers(self) -> int:
        """All layers, where there is an indexer."""
        return self.layers if self.indexed else 0

    @property
    def settled_tokens(self) -> int:
        """As many tokens as the indexer picks, where there is one."""
        return max(1, self.index_topk)

    @property
    def entry_values(self) -> int:
        """Values of one token's KV entry in one layer."""
        return self.kv_lora_rank + self.rope_dim

    def parameters(self) -> int:
        """Projections of all layers, with the indexer's queries and keys."""
        return self.layers * self.draft_parameters()

    def wide_parameters(self) -> int:
        """The indexer's head weights, which checkpoints leave in BF16."""
        return self.layers * self.hidden * self.index_heads

    def draft_parameters(self) -> int:
        """Low-rank queries, low-rank keys and values, output and indexer of one layer."""
        query = self.q_lora_rank * (self.hidden + self.heads * (self.nope_dim + self.rope_dim))
        latent = self.hidden * self.entry_values + self.kv_lora_rank * self.heads * (self.nope_dim + self.value_dim)
        index = self.index_dim * (self.q_lora_rank * self.index_heads + self.hidden) if self.indexed else 0
        return query + latent + self.heads * self.value_dim * self.hidden + index

    def held_bytes(self, entry: float, index: float, tokens: int) -> float:
        """An entry and an indexer key per token and layer."""
        return self.growth_bytes(entry, index) * tokens

    def growth_bytes(self, entry: float, index: float) -> float:
        """An entry and an indexer key in every layer."""
        return self.layers * (entry + index)

    def fixed_bytes(self, entry: float) -> float:
        """Nothing."""
        return 0.0

    def read_bytes(self, entry: float, index: float, context_tokens: float) -> float:
        """All indexer keys, and the entries picked."""
        return self.layers * (self._picked(context_tokens) * entry + context_tokens * index)

    def flops(self, context_tokens: float) -> float:
        """In decoding the heads attend to the latent entries themselves (the up-projections are absorbed into queries and output)."""
        return self._flops(context_tokens, self.entry_values + self.kv_lora_rank)

    def prompt_flops(self, context_tokens: float) -> float:
        """Prompts attend to keys and values of every head, projected up; with an indexer to latent entries, as in decoding."""
        if self.indexed:
            return self.flops(context_tokens)
        return self._flops(context_tokens, self.nope_dim + self.rope_dim + self.value_dim)

    def _flops(self, context_tokens: float, values: int) -> float:
        scores = context_tokens * self.index_heads * self.index_dim
        return 2.0 * self.layers * (self.heads * values * self._picked(context_tokens) + scores)

    def _picked(self, context_tokens: float) -> float:
        """Entries that one token attends to in a layer."""
        return min(context_tokens, self.index_topk) if self.indexed else context_tokens
