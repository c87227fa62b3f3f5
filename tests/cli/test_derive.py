"""`agentwatt profiles derive` on the command line: without the extra it says what to install, and writes nothing."""

import importlib.metadata
from pathlib import Path

import pytest

from simulator.cli.exit_codes import ExitCode
from tests.cli.conftest import Command


def test_without_the_extra_it_says_what_to_install(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    out = tmp_path / "derived.yaml"
    result = command("profiles", "derive", "--system", "hgx_h200", "--model", "gpt_oss_120b", "--out", str(out))
    assert result.exit_code == ExitCode.BAD_INPUT
    assert result.stdout == ""
    assert "pip install 'agentwatt[aic]'" in result.stderr
    assert not out.exists()


def test_help_tells_the_extra(command: Command) -> None:
    result = command("profiles", "derive", "--help")
    assert result.exit_code == 0
    assert "aiconfigurator" in result.stdout
