"""`measure-gpu` on a machine without a GPU: the plan, and what is said of everything that is missing."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def test_plan_needs_neither_torch_nor_a_gpu(command: Command) -> None:
    result = command("measure-gpu", "--plan")
    assert result.exit_code == 0, result.stderr
    for word in ("gemm", "experts", "decode", "prefill", "host", "idle", "deepseek_v4_pro", "deepseek_r1", "gpt_oss_120b", "fp8"):
        assert word in result.stdout
    assert "about 10.0 min on one GPU" in result.stdout


def test_budget_trims_the_plan(command: Command) -> None:
    short, long = (command("measure-gpu", "--plan", "--budget", budget).stdout for budget in ("3m", "1h"))
    took = re.search(r"about ([\d.]+) min", short)
    assert took is not None
    assert 2.5 < float(took[1]) <= 3.0
    assert "0 cells do not fit the budget" in long


@pytest.mark.parametrize("budget", ["soon", "", "5s", "-3m", "nan", "100h"])
def test_budget_that_is_none(command: Command, budget: str) -> None:
    result = command("measure-gpu", "--plan", "--budget", budget)
    assert result.exit_code == 2
    assert "--budget" in result.stderr
    assert "allowed: 1m to 24h" in result.stderr


def test_unknown_model(command: Command) -> None:
    result = command("measure-gpu", "--plan", "--model", "deepseek_v4_pr")
    assert result.exit_code == 2
    assert "did you mean 'deepseek_v4_pro'?" in result.stderr


def test_without_torch(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else found(name, *rest))
    for words in ((), ("--dry-run",)):
        result = command("measure-gpu", "--out", str(tmp_path / "evidence.csv"), *words)
        assert result.exit_code == 2
        assert "torch; found not installed" in result.stderr
        assert "agentwatt[gpu]" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_gpu(command: Command, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = command("measure-gpu", "--out", str(tmp_path / "evidence.csv"))
    assert result.exit_code == 2
    assert "a machine with a CUDA GPU" in result.stderr
    assert "--dry-run" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")  # PyTorch's own
def test_dry_run_writes_a_file_and_goes_on_with_it(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: no kernel can be tried")
    out = tmp_path / "evidence.csv"
    words = ("measure-gpu", "--dry-run", "--out", str(out), "--model", "gpt_oss_120b", "--budget", "2m")
    first = command(*words)
    assert first.exit_code == 0, first.stderr
    assert "# dry_run: yes" in out.read_text(encoding="utf-8")
    lines = out.read_text(encoding="utf-8").splitlines()
    out.write_text("\n".join(lines[:-2]) + "\n", encoding="utf-8")
    again = command(*words)
    assert again.exit_code == 0, again.stderr
    assert "2/2" in again.stderr
    assert len(out.read_text(encoding="utf-8").splitlines()) == len(lines)
