"""Compiled code on disk: found again, told apart by its sources, harmless when cut short, absent or written by two at once."""

import ast
import errno
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numba.core.caching
import pytest

import simulator
from simulator.engine import kernel
from simulator.engine.kept import digest_of, is_kept, kept

TEXT = "def double(x):\n    return 2 * x\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of one function, compiled code of which goes to `tmp_path / "kept"`."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    made = loaded(tmp_path / "tiny.py", TEXT)
    monkeypatch.setitem(sys.modules, "tiny", made)  # kept code is loaded by the name of its module
    return made


def loaded(path: Path, text: str) -> ModuleType:
    path.write_text(text)
    made = ModuleType(path.stem)
    made.__file__ = str(path)
    exec(compile(text, str(path), "exec"), vars(made))
    return made


def in_a_process(module: ModuleType) -> tuple[int, bool]:
    """What a process with nothing compiled would get from the function, and whether it was loaded."""
    compiled = kept((module,))(module.double)
    result = compiled(21)
    return result, bool(compiled.stats.cache_hits)


def files(tmp_path: Path, ending: str) -> list[Path]:
    return sorted((tmp_path / "kept").rglob(f"*{ending}"))


pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="without the JIT nothing is kept")


def test_the_second_process_loads(module: ModuleType) -> None:
    assert not is_kept(kept((module,))(module.double))
    assert in_a_process(module) == (42, False)
    assert is_kept(kept((module,))(module.double))
    assert in_a_process(module) == (42, True)


def test_code_of_other_sources_is_not_taken(module: ModuleType, tmp_path: Path) -> None:
    """As after an edit of another file, or of the same length: nothing but what is in the files counts."""
    other = loaded(tmp_path / "other.py", "FACTOR = 2\n")
    first = digest_of((module, other))
    assert in_a_process(module) == (42, False)
    changed = loaded(tmp_path / "tiny.py", TEXT.replace("2", "3"))
    assert in_a_process(changed) == (63, False)
    assert in_a_process(loaded(tmp_path / "tiny.py", TEXT)) == (42, True)
    loaded(tmp_path / "other.py", "FACTOR = 3\n")
    assert digest_of((module, other)) != first


def test_another_processor_has_names_of_its_own(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home shared by two kinds of machine: neither can run what the other one wrote."""
    ours = digest_of((module,))
    monkeypatch.setattr("simulator.engine.kept.llvm.get_host_cpu_name", lambda: "another")
    assert digest_of((module,)) != ours


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_writer_that_was_ended_halfway(module: ModuleType, tmp_path: Path, ending: str, share: float) -> None:
    assert in_a_process(module) == (42, False)
    (path,) = files(tmp_path, ending)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert in_a_process(module) == (42, False)
    assert in_a_process(module) == (42, True)


def test_what_an_ended_writer_leaves_beside_is_not_read(module: ModuleType, tmp_path: Path) -> None:
    assert in_a_process(module) == (42, False)
    (path,) = files(tmp_path, ".nbc")
    path.rename(path.with_name(f"{path.name}.tmp.0123"))
    assert in_a_process(module) == (42, False)


def test_files_of_something_else(module: ModuleType, tmp_path: Path) -> None:
    assert in_a_process(module) == (42, False)
    (path,) = files(tmp_path, ".nbc")
    path.write_bytes(pickle.dumps(("not", "code")))
    assert in_a_process(module) == (42, False)
    assert in_a_process(module) == (42, True)


def test_a_full_disk(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(numba.core.caching.IndexDataCacheFile, "_save_data", full)
        assert in_a_process(module) == (42, False)
    assert in_a_process(module) == (42, False)
    assert in_a_process(module) == (42, True)


def test_nowhere_to_write(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only installation and a read-only home: folders cannot be made where files stand (root may write everywhere else)."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    (tmp_path / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert in_a_process(module) == (42, False)
    assert in_a_process(module) == (42, False)
    assert not is_kept(kept((module,))(module.double))


def test_two_processes_at_once(module: ModuleType, tmp_path: Path) -> None:
    code = "import tiny; from simulator.engine.kept import kept; f = kept((tiny,))(tiny.double); print(f(21), len(f.stats.cache_hits))"
    paths = f"{tmp_path}:{Path(simulator.__file__).parents[1]}"
    where = {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}

    def started() -> "subprocess.Popen[str]":
        return subprocess.Popen([sys.executable, "-c", code], env=where, stdout=subprocess.PIPE, text=True)

    def ended(process: "subprocess.Popen[str]") -> list[str]:
        return process.communicate()[0].split()

    both = [started(), started()]
    assert [ended(process)[0] for process in both] == ["42", "42"]
    assert len(files(tmp_path, ".nbi")) == len(files(tmp_path, ".nbc")) == 1
    assert ended(started()) == ["42", "1"]


def test_the_kernel_names_all_it_is_made_of() -> None:
    """Every name that a compiled function takes from another module comes from one whose file is hashed."""
    tree = ast.parse(Path(str(kernel.__file__)).read_text())
    taken = {name.asname or name.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names}
    compiled = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    used = {name.id for function in compiled for name in ast.walk(function) if isinstance(name, ast.Name)}
    ours = {module for name, module in taken.items() if name in used - {"kept", "register_jitable"} and str(module).startswith("simulator")}
    assert ours <= {module.__name__ for module in kernel.SOURCES}
    assert kernel.engine_tables in kernel.SOURCES
    assert len(compiled) > 50
