from pathlib import Path

import pytest

from fedrec.model.text_encoder import TextEncoder
from tests.one_thread import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def little_bert(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    """A random BERT of two layers."""
    from tests.small_worlds import save_tiny_bert

    return TextEncoder.open(save_tiny_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="session")
def exported(little_bert: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its form for devices, made once: an export takes seconds."""
    from fedrec.model.onnx_export import export_encoder
    from tests.small_worlds import TITLES

    folder = tmp_path_factory.mktemp("exported")
    export_encoder(little_bert, folder, TITLES)
    return folder
