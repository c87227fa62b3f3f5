"""An overlay of a law that a test knows, as a calibration would have written it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from simulator.calibration.cell import Endpoint
from simulator.calibration.live_overlay import Measured, overlay_text
from simulator.hardware.deployment import LawCoefficients

TOLD = {"max_context_tokens": 2048, "max_seqs": 16, "block_tokens": 16, "kv_blocks": 2048, "token_budget": 512}


def write_overlay(path: Path, law: Mapping[str, float], factor: float = 1.0, **told: int) -> Path:
    """The law, each of its times ``factor`` times as long; ``told`` are fields of an `Endpoint`."""
    endpoint = Endpoint(
        "http://hidden",
        "hidden",
        "vllm",
        None,
        True,
        True,
        True,
        True,
        True,
        vocabulary=1000,
        **(TOLD | told),  # type: ignore[arg-type]
    )
    nan = float("nan")
    times = {name: factor * value for name, value in law.items()}
    coefficients = LawCoefficients(
        times["floor_s"], 0.0, nan, nan, nan, 0.0, times["prefill_token_s"], times["prefill_pair_s"],
        context_token_s=times["context_token_s"], sequence_s=times["sequence_s"],
    )  # fmt: skip
    measured = replace(Measured.guess(endpoint, 0.01, 1e-4), law=coefficients, valid_seqs=16, valid_context_tokens=2048)
    path.write_text(overlay_text(measured, "hidden", "hidden by a test, 2026-11-25", ["A note."]), encoding="utf-8")
    return path
