"""A model card: the values of a model's published config. Totals are computed from them in `memory.py`, never typed in."""

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.hardware.attention import Attention
from simulator.hardware.quality import Field


@dataclass(frozen=True)
class ModelCard:
    """A transformer: attention of one kind, and feed-forward layers that are dense, of experts, or dense first and of experts after.

    Attributes
    ----------
    attention : Attention
        What the attention layers hold, read and compute.
    dense_layers, dense_inner : int
        Layers with one feed-forward network instead of experts, and its width; all of them in a dense model.
    routed_experts, shared_experts, experts_per_token, expert_inner : int
        Experts of a layer that tokens choose and those that all pass, how many a token chooses, and their width; 0 in a dense model.
    hyper_streams : int
        Residual streams of hyper-connections; 0 without.
    mtp_layers : int
        Draft layers (multi-token prediction) that come with the model.
    expert_param_bytes, dense_param_bytes, attention_param_bytes, wide_param_bytes : float
        Bytes per parameter as stored, scales included: of routed experts; of shared experts and dense layers; of attention; and of what
        stays wide (routers, embedding, head).
    fp4_attention_param_bytes : float
        The same of attention where experts and dense layers are cast to FP4.
    kv_entry_bytes, index_entry_bytes : mapping of str to float
        Bytes of one layer's KV entry and indexer key, by storage type; no indexer keys in a model without an indexer.
    accept_means : tuple of float
        Mean tokens per step with 1, 2, 3, .. drafts of the model's own draft layer (bonus token included); empty without.
    """

    name: str
    title: str
    layers: int
    hidden: int
    heads: int
    attention: Attention
    dense_layers: int
    dense_inner: int
    routed_experts: int
    shared_experts: int
    experts_per_token: int
    expert_inner: int
    hyper_streams: int
    mtp_layers: int
    vocab: int
    max_context_tokens: int
    expert_param_bytes: float
    dense_param_bytes: float
    attention_param_bytes: float
    wide_param_bytes: float
    fp4_attention_param_bytes: float
    kv_entry_bytes: Mapping[str, float]
    index_entry_bytes: Mapping[str, float]
    accept_means: tuple[float, ...]
    quality: str
    notes: tuple[str, ...]
    fields: Mapping[str, Field]

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers

    @property
    def dense(self) -> bool:
        """Whether no layer has experts."""
        return self.moe_layers == 0
