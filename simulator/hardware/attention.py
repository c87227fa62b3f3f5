"""What the attention layers of a model hold, read and compute: the questions that every kind answers. Inputs come from a model card.

The kinds are `attention_grouped.py` (GQA, with or without sliding-window layers), `attention_latent.py` (MLA, with or without a sparse
indexer), `attention_hybrid.py` (GQA and linear layers) and `attention_compressed.py` (the CSA and HCA layers of DeepSeek V4).
"""

from typing import Protocol


class Attention(Protocol):
    """The attention of a whole model. ``entry`` and ``index`` are the bytes of one KV entry and of one indexer key in one layer."""

    @property
    def kv_heads(self) -> int:
        """KV heads that tensor parallelism can split between GPUs; 1 where every GPU needs all of the KV cache."""

    @property
    def state_heads(self) -> int:
        """Heads by which tensor parallelism can split what a sequence holds whatever its length."""

    @property
    def indexed(self) -> bool:
        """Whether an indexer picks the entries that a token attends to."""

    @property
    def index_layers(self) -> int:
        """Layers with an indexer."""

    @property
    def entry_values(self) -> int:
        """Values of one KV entry in one layer."""

    @property
    def settled_tokens(self) -> int:
        """Context from which on reads and FLOPs grow in proportion."""

    def parameters(self) -> int:
        """Parameters of all layers that are stored as attention."""

    def wide_parameters(self) -> int:
        """Parameters of all layers that stay wide (BF16) in checkpoints of fewer bits."""

    def draft_parameters(self) -> int:
        """Parameters of the attention of one draft layer."""

    def held_bytes(self, entry: float, index: float, tokens: int) -> float:
        """KV bytes of one sequence."""

    def growth_bytes(self, entry: float, index: float) -> float:
        """KV bytes by which a long sequence grows per token."""

    def fixed_bytes(self, entry: float) -> float:
        """KV bytes that a long sequence holds whatever its length."""

    def read_bytes(self, entry: float, index: float, context_tokens: float) -> float:
        """KV bytes read to decode one token behind ``context_tokens``."""

    def flops(self, context_tokens: float) -> float:
        """FLOPs to decode one token behind ``context_tokens``, without the weights'."""

    def prompt_flops(self, context_tokens: float) -> float:
        """FLOPs of one prompt token behind ``context_tokens``, without the weights'."""
