"""`measure-gpu` on a machine without a GPU: the plan, and what is said of everything that is missing."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.calibration.gpu_evidence import evidence_text
from tests.cli.conftest import Command
from tests.unit.gpu_synthetic import ABOUT, damaged, synthetic
from tests.unit.page_checks import look


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


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A damaged file made from laws that are known."""
    path = tmp_path_factory.mktemp("gpu") / "evidence.csv"
    path.write_text(evidence_text(ABOUT, damaged(synthetic(0.02))), encoding="utf-8")
    return path


def test_fit_prints_tables_and_writes_a_profile_and_a_page(command: Command, evidence: Path, tmp_path: Path) -> None:
    profile, page = tmp_path / "measured.yaml", tmp_path / "measured.html"
    result = command("measure-gpu", "--fit", str(evidence), "--system", "hgx_h200", "--profile", str(profile), "--html", str(page))
    assert result.exit_code == 0, result.stderr
    for word in ("idle, allocated", "weight reads", "power_rise", "target 5.0 %: met", "h200-gpt_oss_120b-8k1k-c1"):
        assert word in result.stdout
    for word in ("visits failed", "visits are without watts"):
        assert word in result.stderr
    checked = command("profiles", "check", str(profile))
    assert checked.exit_code == 0, checked.stderr
    assert "2 measured" in checked.stdout
    text = page.read_text(encoding="utf-8")
    assert set(look(text)) == {"power", "gemm"}
    assert "held out by" in text
    assert "NVIDIA H200 (synthetic)" in text


def test_times_are_fitted_without_watts(command: Command, tmp_path: Path) -> None:
    path, profile = tmp_path / "dark.csv", tmp_path / "measured.yaml"
    path.write_text(evidence_text(ABOUT, [replace(row, watts=None) for row in synthetic(0.02)]), encoding="utf-8")
    result = command("measure-gpu", "--fit", str(path), "--profile", str(profile), "--html", str(tmp_path / "page.html"))
    assert result.exit_code == 0, result.stderr
    assert "weight reads" in result.stdout
    assert "power_rise" not in result.stdout
    assert "no power law" in result.stderr
    assert command("profiles", "check", str(profile)).exit_code == 0


def test_nonsense_is_not_written(command: Command, tmp_path: Path) -> None:
    """A link of infinite speed leaves the range of the field: the profile is refused, and none is left."""
    path, profile = tmp_path / "fast.csv", tmp_path / "measured.yaml"
    fast = [replace(row, time_s=1e-300, watts=None) if row.kind == "host" else replace(row, watts=None) for row in synthetic(0.02)]
    path.write_text(evidence_text(ABOUT, fast), encoding="utf-8")
    result = command("measure-gpu", "--fit", str(path), "--profile", str(profile))
    assert result.exit_code == 2
    assert "host_link_bytes_per_s" in result.stderr
    assert not profile.exists()


def test_fit_refuses_what_measured_nothing(command: Command, evidence: Path, tmp_path: Path) -> None:
    path = tmp_path / "dry.csv"
    path.write_text(evidence.read_text(encoding="utf-8").replace("# dry_run: no", "# dry_run: yes"), encoding="utf-8")
    result = command("measure-gpu", "--fit", str(path))
    assert result.exit_code == 2
    assert "a dry run measures nothing" in result.stderr
    assert command("measure-gpu", "--fit", str(tmp_path / "none.csv")).exit_code == 2
    unknown = command("measure-gpu", "--fit", str(evidence), "--system", "hgx_h20")
    assert unknown.exit_code == 2
    assert "did you mean 'hgx_h200'?" in unknown.stderr
