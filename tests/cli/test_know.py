"""`profiles` and `trajectories`: lists, fields with sources, checks of a file, generated sets."""

import gzip
from pathlib import Path

import pytest

from simulator.catalog import find_data, names
from tests.cli.conftest import Command


def test_profiles_list_is_the_default(command: Command) -> None:
    listed, default = command("profiles", "list"), command("profiles")
    assert listed.exit_code == 0, listed.stderr
    assert listed.stdout == default.stdout
    for kind in ("systems", "models", "engines", "deployments"):
        for name in names(kind):
            assert name in listed.stdout


@pytest.mark.parametrize(
    "name", ["hgx_h200", "deepseek_v4_pro", "glm_5", "llama_3_1_8b", "sglang", "hgx_h200_v4pro_20tps", "gb300_nvl72_v4pro_20tps_pd"]
)
def test_show_prints_fields_with_sources(command: Command, name: str) -> None:
    result = command("profiles", "show", name)
    assert result.exit_code == 0, result.stderr
    assert "quality" in result.stdout
    assert ("Computed" in result.stdout) is (name not in ("hgx_h200", "sglang"))


def test_show_takes_a_path(command: Command) -> None:
    result = command("profiles", "show", str(find_data("systems", "hgx_h200")))
    assert result.stdout == command("profiles", "show", "hgx_h200").stdout


@pytest.mark.parametrize("kind", ["systems", "models", "engines", "deployments"])
def test_every_shipped_profile_checks(command: Command, kind: str) -> None:
    for name in names(kind):
        result = command("profiles", "check", str(find_data(kind, name)))
        assert result.exit_code == 0, result.stderr
        assert f"a good profile ({kind})" in result.stdout


def test_trajectories_list_is_the_default(command: Command) -> None:
    result = command("trajectories")
    assert result.exit_code == 0, result.stderr
    for name in names("trajectories"):
        assert name in result.stdout


def test_statistics_with_targets(command: Command) -> None:
    result = command("trajectories", "stats", "agentperf_like", "--targets")
    assert result.exit_code == 0, result.stderr
    assert "ISL mean" in result.stdout
    assert "27,000 ±5%" in result.stdout
    assert "NOT MET" not in result.stdout


def test_sub_agents_can_be_generated_and_are_shown(command: Command, tmp_path: Path) -> None:
    path = str(tmp_path / "fan_out.jsonl.gz")
    result = command("trajectories", "generate", path, "-t", "20", "--sub-agents")
    assert result.exit_code == 0, result.stderr
    for shown in (result.stdout, command("trajectories", "stats", path).stdout):
        assert "calls in sub-agents" in shown
        assert "threads per trajectory max" in shown
    assert "sub-agent" not in command("trajectories", "stats", "agentperf_like").stdout


def test_generate_gives_the_same_file_for_a_seed(command: Command, tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl"):
        assert command("trajectories", "generate", str(tmp_path / name), "-t", "5", "--seed", "7").exit_code == 0
    content = (tmp_path / "a.jsonl.gz").read_bytes()
    assert content == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress(content) == (tmp_path / "c.jsonl").read_bytes()
    assert command("trajectories", "stats", str(tmp_path / "c.jsonl")).exit_code == 0
