"""An engine preset: the options by which a deployment imitates one serving engine. Inputs come from `hardware_profiles/engines`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from simulator.hardware.quality import Field
from simulator.hardware.schemas import PRESET_ONLY

OPTIONS = (
    "batch_mode", "admit_reserve", "ratio_clip", "ratio_steps", "victim", "requeue", "pipeline_depth", "prefix_cache", "visible",
    "chunk_round", "lookahead", "first_token", "kv_transfer", "decode_prealloc",
)  # fmt: skip
"""What makes an engine that engine. Overriding one is being *inspired by* it; budgets, seats, intervals, shares, links and routers are
settings, which every user of the engine gives."""


@dataclass(frozen=True)
class Preset:
    """Named options of one engine at one version, as fields of a profile."""

    name: str
    title: str
    imitates: str
    quality: str
    notes: tuple[str, ...]
    fields: Mapping[str, Field]

    def options(self, drafts: int, role: str = "mixed") -> dict[str, Field]:
        """The fields that a pool takes over; those that depend on its role and on drafting are worked out."""
        found = {key: field for key, field in self.fields.items() if key not in PRESET_ONLY}
        if role == "decode" and "decode_prefix_cache" in self.fields:
            found["prefix_cache"] = replace(self.fields["decode_prefix_cache"], name="prefix_cache")
        ahead = self.fields["lookahead_per_draft"]
        found["lookahead"] = replace(ahead, name="lookahead", value=ahead.value * drafts)
        if drafts and "victim_with_drafts" in self.fields:
            found["victim"] = replace(self.fields["victim_with_drafts"], name="victim")
        return found

    def budget_of_rank(self, tokens: int, ranks: int) -> int:
        """Query tokens of a rank in one step, from those that the engine is told to take."""
        shared = "ranks_share_budget" in self.fields and self.fields["ranks_share_budget"].value
        return tokens // ranks if shared else tokens


def overridden(preset: Mapping[str, Field], given: Mapping[str, Field]) -> list[str]:
    """Names of the options that are given another value than the preset's; saying the same again is no override."""
    return [given[key].name for key in OPTIONS if key in given and (key not in preset or given[key].value != preset[key].value)]
