"""What hardware_profiles/README.md lists is what ships, with the figures that follow from the cards."""

from pathlib import Path

from simulator.catalog import names
from simulator.hardware.load import load_model
from simulator.hardware.memory import kv_bytes_per_token, parameters, weight_bytes
from simulator.hardware.model_card import ModelCard

README = (Path(__file__).resolve().parents[2] / "hardware_profiles" / "README.md").read_text(encoding="utf-8")


def row(name: str, model: ModelCard) -> str:
    count, kv = parameters(model), next(iter(model.kv_entry_bytes))
    index = next((kind for kind in ("fp8", *model.index_entry_bytes) if kind in model.index_entry_bytes), "none")
    stored = f"{kv}, index {index}" if model.attention.indexed else kv
    kind = model.fields["attention"].value + (", dense" if model.dense else "") + (", indexer" if model.attention.indexed else "")
    sizes = f"{count.total / 1e9:,.1f}, {count.active / 1e9:,.1f} | {weight_bytes(model).total / 1e9:,.0f} GB"
    return f"| `{name}` | {kind} | {sizes} | {kv_bytes_per_token(model, kv, index):,.0f} ({stored}) |"


def test_every_model_has_its_row():
    missing = [line for line in (row(name, load_model(name)) for name in names("models")) if line not in README.splitlines()]
    assert not missing, "\n".join(["these rows belong into hardware_profiles/README.md:", *missing])


def test_every_system_and_engine_is_named():
    for kind in ("systems", "engines"):
        for name in names(kind):
            assert f"`{kind}/{name}`" in README or f"`{name}`" in README, name
