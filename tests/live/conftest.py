"""The engines that live tests talk to, one of each per run; a test that asks for one which is absent is skipped, with the reason."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import tiny_model
from tests.live.engines import Engine, llamacpp, python_with, vllm


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A Python that has llama.cpp, and the tiny model for it."""
    python, model = python_with("xllamacpp"), tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    subprocess.run([python, tiny_model.__file__, "gguf", str(model)], check=True)
    return python, model


@pytest.fixture(scope="session")
def llamacpp_engine(gguf: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with llamacpp(*gguf, tmp_path_factory.mktemp("llamacpp")) as engine:
        yield engine


@pytest.fixture
def short_llamacpp(gguf: tuple[str, Path], tmp_path: Path) -> Iterator[Engine]:
    """With contexts short enough for a minute to cover them."""
    with llamacpp(*gguf, tmp_path, "--context-tokens", "1024") as engine:
        yield engine


@pytest.fixture(scope="session")
def vllm_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    python, folder = python_with("vllm"), tmp_path_factory.mktemp("vllm")
    tiny_model.write_hf(folder / "tiny", tiny_model.Shape())
    with vllm(python, folder / "tiny", folder) as engine:
        yield engine
