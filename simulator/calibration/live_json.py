"""A calibration as values for JSON: the fit with its provenance, the check, a drift. Inputs are what they come from."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from simulator.calibration.live_check import VERDICTS, Check
from simulator.calibration.live_drift import Drift
from simulator.calibration.live_fit import Fit


def fit_json(fit: Fit) -> dict[str, Any]:
    """What was found, without rows."""
    found: dict[str, Any] = finite(
        {
            "model": fit.endpoint.model,
            "dialect": fit.endpoint.dialect,
            "version": fit.endpoint.version,
            "form": str(fit.law.form),
            "forms_tried": [{"form": str(form), "left_out_median": error} for form, error in fit.law.tried],
            "condition": fit.law.condition,
            "coefficients": [asdict(one) for one in fit.coefficients],
            "request_s": fit.measured.request_s,
            "traits": {name: asdict(one) | {"best": one.best, "agrees": one.agrees} for name, one in fit.traits.items()},
            "valid": {"seqs": fit.measured.valid_seqs, "context_tokens": fit.measured.valid_context_tokens},
            "errors": [asdict(one) for one in fit.errors],
            "noise": fit.noise,
            "drift": None if fit.pace is None else fit.pace.change,
            "pace": None if fit.pace is None else {"times_s": fit.pace.times_s.tolist(), "factors": fit.pace.factors.tolist()},
            "clocks": fit.clocks,
            "excluded": [asdict(one) for one in fit.excluded],
        }
    )
    return found


def check_json(check: Check) -> dict[str, Any]:
    """The verdict and the replay."""
    levels = [
        {"agents": one.agents, "cells": one.cells, "measured": one.measured, "predicted": one.predicted,
         "error": {name: one.error(name) for name in one.measured if name != "speed_tok_s"}}
        for one in check.levels
    ]  # fmt: skip
    held = [asdict(one) for one in check.held]
    words = {"verdict": check.word, "in_words": VERDICTS[check.word], "because": check.sentences}
    found: dict[str, Any] = finite(words | {"levels": levels, "slo": held})
    return found


def drift_json(found: Drift, settings: Sequence[str] = ()) -> dict[str, Any]:
    """A short check; ``settings`` says in words what the endpoint tells otherwise than before."""
    experiments = [asdict(one) | {"error": one.error} for one in found.experiments]
    values: dict[str, Any] = finite(asdict(found) | {"experiments": experiments, "settings": list(settings)})
    return values


def finite(value: Any) -> Any:
    """Without nan and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
