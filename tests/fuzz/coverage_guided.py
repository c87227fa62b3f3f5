"""Bytes that find new branches in what reads files and words, led by coverage (atheris; docs/fuzzing.md has the commands).

``python -m tests.fuzz.coverage_guided SURFACE [options of libFuzzer]`` runs until it is stopped or something is found: what is neither a
value nor a told mistake (`UserError`), more than 10 s for an input, more than 2 GiB. It begins with what ships and what the readers' tests
write, and keeps what it found in ``.cache/fuzz``. Not a part of the tests: atheris is installed apart.
"""

import contextlib
import gzip
import json
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-not-found]
import yaml

ROOT = Path(__file__).parents[2]
AS_IT_IS = [f"simulator.engine.{path.stem}" for path in (ROOT / "simulator" / "engine").glob("*.py")]
"""Numba compiles no code that counts branches."""

with atheris.instrument_imports(include=["simulator"], exclude=AS_IT_IS):
    from simulator.calibration.cell_file import read_cells, read_endpoint, read_requests
    from simulator.calibration.evidence import read_rows
    from simulator.calibration.gpu_evidence import parse_evidence
    from simulator.calibration.past_run import read_past_run
    from simulator.capacity.document import parse_overrides
    from simulator.capacity.scenario_file import load_scenario
    from simulator.capacity.sweep_axes import parse_axes
    from simulator.errors import UserError
    from simulator.hardware.load import load_deployment, load_engine, load_model, load_system
    from simulator.report.sweep_frame import finished_rows
    from simulator.workload import load_trajectories
    from simulator.workload.records import Reading
    from simulator.workload.source import Limits
    from tests.fuzz import test_inputs
    from tests.fuzz.damage import ODD_VALUES, places
    from tests.readers.test_damaged import GOOD

SMALL = Reading(limits=Limits(line_bytes=1 << 20, document_bytes=1 << 20))
Surface = Callable[[Path], Any]


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def words(path: Path) -> None:
    """A line for each ``--set`` or ``--vary``."""
    for line in text_of(path).splitlines()[:3]:
        with contextlib.suppress(UserError):
            parse_overrides([line])
        parse_axes([line])


def calibration(path: Path) -> None:
    text = text_of(path)
    with contextlib.suppress(UserError):
        read_cells(text)
    with contextlib.suppress(UserError):
        read_requests(text)
    read_endpoint(text)


def evidence(path: Path) -> None:
    with contextlib.suppress(UserError):
        read_rows(path)
    parse_evidence(text_of(path), "gpu.csv")


SURFACES: dict[str, tuple[Surface, str]] = {
    "trajectories": (lambda path: load_trajectories(path, SMALL), ".jsonl"),
    "past_runs": (read_past_run, ".jsonl"),
    "scenario": (load_scenario, ".yaml"),
    "system": (load_system, ".yaml"),
    "model": (load_model, ".yaml"),
    "engine": (load_engine, ".yaml"),
    "deployment": (load_deployment, ".yaml"),
    "words": (words, ".txt"),
    "calibration": (calibration, ".jsonl"),
    "evidence": (evidence, ".csv"),
    "parquet": (lambda path: finished_rows(path.read_bytes()), ".parquet"),
}
MOST = 4096
"""Bytes of an input: larger ones are slower, and find no more."""


def seeds(surface: str) -> Iterator[bytes]:
    """Good inputs to begin with."""
    folder = {"system": "systems", "model": "models", "engine": "engines", "deployment": "deployments"}.get(surface)
    if folder:
        for path in sorted((ROOT / "hardware_profiles" / folder).glob("*.yaml")):
            yield path.read_bytes()
            yield f"extends: {path.stem}\nname: x\n".encode()
    elif surface == "scenario":
        yield from (path.read_bytes() for path in test_inputs.SCENARIOS)
    elif surface in ("trajectories", "past_runs"):
        for rows, _, _ in GOOD.values():
            yield "\n".join(map(json.dumps, rows)).encode()
            yield gzip.compress("\n".join(map(json.dumps, rows)).encode(), mtime=0)
    elif surface == "calibration":
        yield test_inputs.cell_line(test_inputs.CELL).encode()
        yield test_inputs.request_line(test_inputs.REQUEST, 0.0).encode()
        yield test_inputs.endpoint_text(test_inputs.ENDPOINT).encode()
    elif surface == "evidence":
        yield "\n".join(test_inputs.evidence_lines()).encode()
    elif surface == "words":
        yield b"agents=1..8/3"
        yield b"deployment={extends: hgx_h200_v4pro_20tps, name: x}"
        yield b"power.cap_w=300,400"
    else:
        yield test_inputs.sweep_table.__wrapped__()


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """Bytes changed anywhere, or, of JSON lines and of YAML as often, a value changed, doubled or lost."""
    draw = random.Random(seed)
    try:
        rows = [json.loads(line) for line in data.splitlines()] if data[:1] in (b"{", b"[") else yaml.safe_load(data)
    except (ValueError, RecursionError, yaml.YAMLError):
        rows = None
    found = places(rows)
    if not found or draw.random() < 0.5:
        return bytes(atheris.Mutate(data, most))
    *above, key = draw.choice(found)
    at = rows
    for step in above:
        at = at[step]
    how = draw.random()
    if how < 0.6:
        at[key] = deepcopy(draw.choice(ODD_VALUES))
    elif how < 0.8 and isinstance(at, list):
        at.insert(key, deepcopy(at[key]))
    else:
        del at[key]
    if data[:1] in (b"{", b"["):
        return "\n".join(map(json.dumps, rows)).encode()[:most]
    return str(yaml.safe_dump(rows, sort_keys=False)).encode()[:most]


def main() -> None:
    surface, *options = sys.argv[1:]
    read, suffix = SURFACES[surface]
    corpus = ROOT / ".cache" / "fuzz" / surface
    corpus.mkdir(parents=True, exist_ok=True)
    known = [seed for seed in seeds(surface) if len(seed) <= MOST or suffix == ".parquet"]
    for place, seed in enumerate(known):
        (corpus / f"seed{place}").write_bytes(seed)
    tokens = sorted({word for seed in known for word in re.findall(rb"[A-Za-z_][A-Za-z_.]{2,}", seed)} if suffix != ".parquet" else ())
    dictionary = corpus.with_suffix(".dict")
    dictionary.write_bytes(b"".join(b'"%b"\n' % token for token in tokens or [b"agentwatt"]))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"input{suffix}"

        def one(data: bytes) -> None:
            file.write_bytes(data)
            with contextlib.suppress(UserError):
                read(file)

        given = [
            f"-max_len={MOST}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-len_control=0",
            f"-artifact_prefix={corpus}.",
            f"-dict={dictionary}",
        ]
        atheris.Setup([sys.argv[0], *given, *options, str(corpus)], one, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
