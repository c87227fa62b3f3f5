"""What goes to which stream: the note on the first compile, lines of progress, JSON without NaN, files written whole."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from simulator.cli.files import write_text
from simulator.cli.screen import json_text, progress, say, tell_first_compile
from simulator.engine import kernel
from simulator.errors import UserError


def test_first_compile_is_told_until_the_cache_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def advance() -> None: ...

    for name in [name for name, value in vars(kernel).items() if hasattr(value, "stats")]:
        monkeypatch.delattr(kernel, name)
    fake = SimpleNamespace(stats=SimpleNamespace(cache_path=str(tmp_path)), py_func=advance)
    monkeypatch.setattr(kernel, "advance", fake, raising=False)
    told: list[str] = []
    tell_first_compile(told.append)
    assert len(told) == 1
    code, version = advance.__code__, sys.version_info
    name = f"{test_first_compile_is_told_until_the_cache_has_it.__name__}.locals.advance"  # as Numba writes a closure's
    (tmp_path / f"test_screen.{name}-{code.co_firstlineno}.py{version.major}{version.minor}.nbi").touch()
    tell_first_compile(told.append)
    assert len(told) == 1


def test_progress_is_plain_lines_on_stderr_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as tell:
        tell("one [bold]line[/bold]")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("one [bold]line[/bold]\nwall time ")


def test_control_characters_stay_out_of_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[2Jb\nc")
    assert capsys.readouterr().err == "a [2Jb c\n"


def test_json_has_null_where_a_number_is_missing() -> None:
    assert json.loads(json_text({"a": [float("nan"), 1.5], "b": (float("inf"),)})) == {"a": [None, 1.5], "b": [None]}


def test_a_file_is_whole_or_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "x.txt"
    write_text(file, "old")
    write_text(file, "new")
    assert file.read_text(encoding="utf-8") == "new"
    assert [path.name for path in file.parent.iterdir()] == ["x.txt"]
    with pytest.raises(UserError, match="cannot be written"):
        write_text(file / "y", "under a file")
