"""The engines that live tests talk to, one of each per run; a test that asks for one which is absent is skipped, with the reason."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.live import tiny_model
from tests.live.engines import Engine, llamacpp, python_with, vllm


@pytest.fixture(scope="session")
def llamacpp_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    python, folder = python_with("xllamacpp"), tmp_path_factory.mktemp("llamacpp")
    model = folder / "tiny.gguf"
    subprocess.run([python, tiny_model.__file__, "gguf", str(model)], check=True)
    with llamacpp(python, model, folder) as engine:
        yield engine


@pytest.fixture(scope="session")
def vllm_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    python, folder = python_with("vllm"), tmp_path_factory.mktemp("vllm")
    tiny_model.write_hf(folder / "tiny", tiny_model.Shape())
    with vllm(python, folder / "tiny", folder) as engine:
        yield engine
