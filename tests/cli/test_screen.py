"""What goes to which stream: the note on the first compile, lines of progress, JSON without NaN, files written whole."""

import json
from pathlib import Path

import pytest

from simulator.cli.files import write_text
from simulator.cli.screen import json_text, progress, say, tell_first_compile
from simulator.errors import UserError


@pytest.mark.parametrize("there", [False, True])
def test_first_compile_is_told_until_the_code_is_kept(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr("simulator.engine.kept.is_kept", lambda compiled: there)
    told: list[str] = []
    tell_first_compile(told.append)
    assert len(told) == (not there)


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
