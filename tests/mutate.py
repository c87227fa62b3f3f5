"""Mutations of the two engines: small mistakes put into their source one at a time, to see whether a test notices.

Named mutants, one or more for each law of docs/invariants.md, are run against the very test that holds the law. Drawn ones (a flipped
comparison, a one too many, a lost statement, two in the wrong order) are run against the equal-log test, the schedules worked out by hand
and the known answers. Everything runs with the JIT off, so nothing is compiled. By hand, some twenty minutes on two cores::

    make mutants        # rewrites docs/mutations.md; exit status 1 when a survivor has no judgement in tests/mutants.py
"""

import argparse
import ast
import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ENGINE = "simulator/engine/"
DRAWN = {"kernel": 30, "reference": 12, "reference_rank": 16, "blocks": 6, "growth": 4}
"""Mutants drawn per file of the engine: those with the smallest hash of what they change, so that an edit elsewhere draws the same."""
SPARED = {
    *("verify", "verify_blocks", "simulate_kernel", "simulate_reference", "longer", "table", "new_state", "new_ranks", "flat"),
    *("call_rows", "pool_row", "most_blocks", "__post_init__", "aligned", "side_by_side", "play", "calls", "plays", "output"),
}
"""Functions that are not mutated at random: the checks themselves, and tables of sizes before and after the loop."""
SUITE = (
    *("tests/oracle/test_vllm_schedules.py", "tests/oracle/test_option_schedules.py", "tests/oracle/test_pd_schedules.py"),
    *("tests/oracle/test_worlds_that_broke.py", "tests/theory/test_sub_agents.py", "tests/theory/test_power_cap.py"),
    *(
        "tests/theory/test_host_tier.py",
        "tests/theory/test_known_answers.py",
        "tests/unit/test_engine_growth.py",
        "tests/oracle/test_edges.py",
    ),
    "tests/oracle/test_equal_logs.py",
)
SLOW = "not md1 and not machine_repair and not infinite_host"
CPU_S, MEMORY_BYTES = 60, 6 << 30
FLIPPED = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="}
SWAPPED = {ast.Add: "-", ast.Sub: "+", ast.FloorDiv: "*"}


class Mutant(NamedTuple):
    """One change of one file: characters ``start .. end`` become ``after``."""

    file: str
    function: str
    kind: str
    before: str
    after: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """What the change is, whatever its line."""
        return f"{self.file} {self.function}: {one_line(self.before)} -> {one_line(self.after)}"


def one_line(text: str) -> str:
    return " ".join(text.split()) or "(nothing)"


# --------------------------------------------------------------------------------------------------------------- where they come from


def mutants(file: str) -> Iterator[Mutant]:
    """Every small mistake that a file of the engine offers."""
    text = source(file)
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(node: ast.AST) -> tuple[int, int]:
        first, last = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return len(text.encode()[:first].decode()), len(text.encode()[:last].decode())

    def made(function: str, kind: str, node: ast.AST, after: str) -> Mutant:
        start, end = place(node)
        return Mutant(file, function, kind, text[start:end], after, start, end)

    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef) and function.name not in SPARED:
            for node in inside(function):
                for kind, after in changes(node, text, place):
                    yield made(function.name, kind, node, after)
            yield from (Mutant(file, function.name, *rest) for rest in disordered(function, text, place))


def inside(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Nodes of a function's body that run in it, docstrings, assertions and the log left out."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.Assert) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        if isinstance(node, ast.Call) and called(node) == "log":
            continue
        yield node
        stack += ast.iter_child_nodes(node)


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def changes(node: ast.AST, text: str, place: Any) -> Iterator[tuple[str, str]]:
    """(kind of mistake, text in its place) for one node."""

    def of(child: ast.AST) -> str:
        start, end = place(child)
        return text[start:end]

    match node:
        case ast.Compare(left, [op], [right]) if type(op) in FLIPPED:
            yield "comparison", f"{of(left)} {FLIPPED[type(op)]} {of(right)}"
        case ast.BinOp(left, op, right) if type(op) in SWAPPED:
            yield "arithmetic", f"({of(left)} {SWAPPED[type(op)]} {of(right)})"
        case ast.Constant(value) if type(value) is int and value < 10:
            yield "one too many", f"({value} + 1)"
        case ast.BoolOp(op, [left, right]):
            yield "and, or", f"({of(left)} {'or' if isinstance(op, ast.And) else 'and'} {of(right)})"
        case ast.UnaryOp(ast.Not(), operand):
            yield "not", f"({of(operand)})"
        case ast.Call(ast.Name("min" | "max" as which)):
            yield "min, max", ("max" if which == "min" else "min") + of(node)[3:]
        case ast.Expr(ast.Call()) | ast.AugAssign():
            yield "lost statement", "pass"


def disordered(function: ast.FunctionDef, text: str, place: Any) -> Iterator[tuple[str, str, str, int, int]]:
    """Neighbouring calls and counts in the wrong order."""
    for node in [function, *inside(function)]:
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for one, other in pairwise(body):
            if isinstance(one, ast.Expr | ast.AugAssign) and isinstance(other, ast.Expr | ast.AugAssign):
                (start, mid), (again, end) = place(one), place(other)
                if isinstance(getattr(one, "value", None), ast.Constant):
                    continue
                yield "order", text[start:end], text[again:end] + text[mid:again] + text[start:mid], start, end


def source(file: str) -> str:
    return (ROOT / ENGINE / f"{file}.py").read_text(encoding="utf-8")


def drawn() -> list[Mutant]:
    """The mutants of a run, file by file."""
    chosen = []
    for file, count in DRAWN.items():
        unique = {mutant.name: mutant for mutant in mutants(file)}
        chosen += sorted(unique.values(), key=lambda mutant: hashlib.sha256(mutant.name.encode()).digest())[:count]
    return chosen


def named(file: str, before: str, after: str) -> Mutant:
    """The mutant that replaces the only place where a file has ``before``."""
    text = source(file)
    assert text.count(before) == 1, f"{file}.py has {text.count(before)} places like this, one is meant: {before}"
    start = text.index(before)
    return Mutant(file, function_at(text, start), "named", before, after, start, start + len(before))


def function_at(text: str, position: int) -> str:
    names = re.findall(r"^(?:    )*def (\w+)", text[:position], re.MULTILINE)
    return names[-1] if names else ""


# ---------------------------------------------------------------------------------------------------------------------- how they run


class Loader(importlib.machinery.SourceFileLoader):
    """Loads one module from a text that is not its file's."""

    def get_code(self, fullname: str) -> Any:
        return compile(Path(os.environ["AGENTWATT_MUTANT"]).read_bytes(), self.path, "exec", dont_inherit=True)


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, file: str) -> None:
        self.file = file

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != f"simulator.engine.{self.file}":
            return None
        where = str(ROOT / ENGINE / f"{self.file}.py")
        return importlib.machinery.ModuleSpec(fullname, Loader(fullname, where), origin=where)


def run_tests(file: str, tests: list[str]) -> int:
    """In a process of its own: the tests, with the engine's file replaced. The first failure ends it."""
    import pytest

    sys.meta_path.insert(0, Finder(file))
    chosen = ["-k", SLOW] if len(tests) > 1 else []
    return int(pytest.main(["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", *chosen, *tests], plugins=[Quick()]))


class Quick:
    """The same examples in every run; none is shrunk or kept."""

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings

        settings.register_profile("mutants", database=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
        settings.load_profile("mutants")


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def verdict(mutant: Mutant, tests: list[str]) -> str:
    """The test that noticed, or ``it hangs``, or an empty text when nothing did."""
    text = source(mutant.file)
    changed = text[: mutant.start] + mutant.after + text[mutant.end :]
    ast.parse(changed)
    with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as copy:
        copy.write(changed)
        copy.flush()
        environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "AGENTWATT_MUTANT": copy.name, "AGENTWATT_WORLDS": "120"}
        command = [sys.executable, "-m", "tests.mutate", "--of", mutant.file, *tests]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, preexec_fn=limit, check=False)
    if done.returncode == 0:
        return ""
    noticed = re.search(r"^(?:FAILED|ERROR) (\S+?)(?:\[|\s|$)", done.stdout, re.MULTILINE)
    if noticed:
        return noticed[1]
    return "it hangs" if done.returncode < 0 else f"nothing runs: {done.stdout[-200:]}{done.stderr[-200:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Put small mistakes into the engines and see which test notices.")
    parser.add_argument("--of", help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "mutations.md")
    journal = ROOT / ".cache" / "mutants.jsonl"
    parser.add_argument("--journal", type=Path, default=journal, help="what is known already; remove it to begin anew")
    parser.add_argument("--only", default="", help="mutants whose kind and name have this in them; writes nothing")
    parser.add_argument("tests", nargs="*")
    chosen = parser.parse_args()
    if chosen.of:
        return run_tests(chosen.of, chosen.tests)
    from tests.mutants import LAWS, judgement
    from tests.mutants_page import page

    by_law = [(law, named(*change), test) for law, changes, test in LAWS for change in changes]
    work = [(mutant, [test]) for _, mutant, test in by_law] + [(mutant, list(SUITE)) for mutant in drawn()]
    work = [(mutant, tests) for mutant, tests in work if chosen.only in f"{mutant.kind}: {mutant.name}"]

    known = dict(json.loads(line) for line in chosen.journal.read_text("utf-8").splitlines()) if chosen.journal.exists() else {}

    def tried(task: tuple[Mutant, list[str]]) -> str:
        key = " ".join([task[0].name, *task[1]])
        if key not in known:
            known[key] = verdict(*task)
            print(f"{known[key] or 'SURVIVED':<60} {task[0].name}", file=sys.stderr, flush=True)
            with chosen.journal.open("a", encoding="utf-8") as journal:
                journal.write(json.dumps([key, known[key]]) + "\n")
        return known[key]

    chosen.journal.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        found = list(pool.map(tried, work))
    survivors = [mutant.name for (mutant, _), test in zip(work, found, strict=True) if not test]
    if not chosen.only:
        chosen.out.write_text(page(by_law, work, found), encoding="utf-8")
    return int(any(not judgement(name) for name in survivors))


if __name__ == "__main__":
    sys.exit(main())
