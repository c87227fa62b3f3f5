"""`profiles`: lists, fields with sources, checks of a file."""

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
