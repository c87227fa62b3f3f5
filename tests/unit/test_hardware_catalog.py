"""Shipped data is found by name, in a checkout and in a wheel."""

from pathlib import Path

import pytest

import simulator.catalog as catalog
from simulator.errors import UserError


def test_names_lose_their_suffixes_and_lead_to_files(tmp_path, monkeypatch):
    wheel = tmp_path / "simulator"
    for name in ("_data/trajectories/a.jsonl.gz", "_data/trajectories/b.jsonl", "_data/trajectories/README.md", "_data/scenarios/c.yaml"):
        (wheel / name).parent.mkdir(parents=True, exist_ok=True)
        (wheel / name).write_text("")
    monkeypatch.setattr(catalog, "__file__", str(wheel / "catalog.py"))
    assert catalog.names("trajectories") == ["a", "b"]
    assert catalog.find_data("trajectories", "a") == wheel / "_data" / "trajectories" / "a.jsonl.gz"
    assert catalog.find_data("scenarios", "c").name == "c.yaml"
    with pytest.raises(UserError, match="no such folder"):
        catalog.folder("systems")


def test_the_checkout_is_found():
    assert catalog.find_data("systems", "gb300_nvl72") == Path(catalog.__file__).parents[1] / "hardware_profiles/systems/gb300_nvl72.yaml"


def test_unknown_names_and_kinds():
    with pytest.raises(UserError, match=r"deployment; found 'hgx_h200_v4pro_20'.*did you mean 'hgx_h200_v4pro_20tps'\?"):
        catalog.find_data("deployments", "hgx_h200_v4pro_20")
    with pytest.raises(UserError, match=r"kind; found 'system'; allowed: systems, models.*did you mean 'systems'\?"):
        catalog.names("system")
