import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fedrec.errors import ConfigError, DataError, LayoutError, VerificationError
from fedrec.model.catalogue_index import encode_queries
from fedrec.model.item_index import build_index
from fedrec.model.onnx_encoder import FACTS_FILE, MODEL_FILE, OnnxEncoder
from fedrec.model.onnx_export import LEAST, LEAST_MEAN, export_encoder
from fedrec.model.text_encoder import TextEncoder
from tests.small_worlds import TITLES, save_tiny_bert

SENTENCES = [
    "A field guide to garden birds",
    "Cakes and pastries for beginners",
    "  Repairing   vintage motorcycles ",
    "The night sky",
    "",
    "流浪地球",
    "a history of steam locomotives with many photographs " * 60,
]


def facts_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / FACTS_FILE).read_text())
    return found


pytestmark = pytest.mark.slow


def test_the_export_agrees_with_the_original(little_bert: TextEncoder, exported: Path) -> None:
    texts = [*TITLES, "red boat ; green house", "unknown words only", ""]
    found, expected = OnnxEncoder.open(exported).encode(texts), little_bert.encode(texts, cache=False)
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)
    assert (found * expected).sum(axis=1).min() > 0.999


def test_what_was_measured_is_written_down(little_bert: TextEncoder, exported: Path) -> None:
    facts = facts_of(exported)
    assert facts["encoder"] == little_bert.hash == OnnxEncoder.open(exported).hash
    agreement = facts["agreement"]
    assert isinstance(agreement, dict)
    assert LEAST <= agreement["min_cosine"] <= agreement["mean_cosine"] <= 1.00001
    assert agreement["mean_cosine"] >= LEAST_MEAN
    assert agreement["texts"] > len(TITLES)


def test_the_company_in_a_batch_changes_no_vector(exported: Path) -> None:
    encoder = OnnxEncoder.open(exported)
    texts = ["red boat", "blue bird ; " * 40, "house", "", "grey bird"]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert (together * alone).sum(axis=1).min() > 0.9999
    assert encoder.encode([]).shape == (0, 32)


def test_texts_are_cut_where_training_cuts_them(little_bert: TextEncoder, exported: Path) -> None:
    limit = int(little_bert.model.max_seq_length)
    ids, mask = OnnxEncoder.open(exported).tokens(["bird " * 1000, "boat"])
    assert ids.shape == (2, limit)
    assert mask.sum(axis=1).tolist() == [limit, 3]


def test_a_query_is_where_training_puts_it(little_bert: TextEncoder, exported: Path) -> None:
    """Also where the index has coordinates of pictures, of which a text has none."""
    embeddings = np.concatenate(
        [little_bert.encode(TITLES, cache=False), np.random.default_rng(0).normal(size=(len(TITLES), 5))], axis=1
    )
    ids = [f"i{row}" for row in range(len(TITLES))]
    index = build_index(embeddings, ids, encoder_name="little", encoder_hash=little_bert.hash)
    found = OnnxEncoder.open(exported).query_vectors(TITLES[:4], index)
    expected = encode_queries(little_bert, index, TITLES[:4])
    assert found.shape == expected.shape == (4, 37)
    assert np.linalg.norm(found - expected, axis=1).max() < 0.05 * np.linalg.norm(expected, axis=1).max()


def test_an_index_of_another_encoder_is_refused(exported: Path) -> None:
    index = build_index(np.eye(32), [f"i{row}" for row in range(32)], encoder_name="x", encoder_hash="0" * 64)
    with pytest.raises(LayoutError, match="The index was made by the encoder"):
        OnnxEncoder.open(exported).query_vectors(["a"], index)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"encoder": "x", "width": "wide", "padding": 0}'])
def test_a_folder_without_an_encoder_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / FACTS_FILE).write_text(content)
    with pytest.raises(DataError):
        OnnxEncoder.open(tmp_path)


ODD = {
    "it pools by max": lambda model: setattr(model[1], "pooling_mode", "max"),
    "cuts its vectors": lambda model: setattr(model, "truncate_dim", 8),
    "Transformer, Pooling, Identity": lambda model: model.append(torch.nn.Identity()),
    "no limit on the length": lambda model: setattr(model, "max_seq_length", None),
    "pads on the left": lambda model: setattr(model.tokenizer, "padding_side", "left"),
}


@pytest.mark.parametrize("words", ODD)
def test_what_an_encoder_does_beyond_mean_pooling_is_refused_in_one_line(tmp_path: Path, words: str) -> None:
    folder = save_tiny_bert(tmp_path / "bert")
    encoder = TextEncoder.open(folder)
    ODD[words](encoder.model)
    with pytest.raises(ConfigError, match=words) as refused:
        export_encoder(encoder, tmp_path, TITLES)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_form_that_disagrees_is_refused(tmp_path: Path) -> None:
    """Weights that eight bits cannot hold: one entry of every block is a thousand times the others."""
    folder = save_tiny_bert(tmp_path / "bert")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for name, tensor in tensors.items():
        if tensor.dim() == 2 and "embeddings" not in name:
            tensor[:, ::16] *= 300
            tensors[name] = tensor.contiguous()
    save_file(tensors, file, {"format": "pt"})
    (tmp_path / "out").mkdir()
    with pytest.raises(VerificationError, match="Use an encoder that bears eight bits"):
        export_encoder(TextEncoder.open(folder), tmp_path / "out", TITLES)


@pytest.mark.slow
def test_an_export_says_nothing(tmp_path: Path) -> None:
    """Asked of a fresh interpreter: the exporter warns, logs and prints at will."""
    folder = save_tiny_bert(tmp_path / "bert")
    (tmp_path / "out").mkdir()
    script = f"""
from pathlib import Path
from fedrec.model.onnx_export import export_encoder
from fedrec.model.text_encoder import TextEncoder
export_encoder(TextEncoder.open({str(folder)!r}), Path({str(tmp_path / "out")!r}), ["red boat"])
"""
    done = subprocess.run([sys.executable, "-W", "default", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_device_encodes_without_torch(exported: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from fedrec.model.onnx_encoder import OnnxEncoder
encoder = OnnxEncoder.open(Path({str(exported)!r}))
print([name for name in ("onnxruntime", "tokenizers") if name in sys.modules])
encoder.encode(["red boat"])
print([name for name in ("torch", "transformers", "onnx", "polars") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.slow
def test_the_packaged_encoder_keeps_its_vectors(tmp_path: Path) -> None:
    encoder = TextEncoder.open()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_encoder(encoder, tmp_path, SENTENCES)
    device = OnnxEncoder.open(tmp_path)
    assert (device.encode(SENTENCES) * encoder.encode(SENTENCES, cache=False)).sum(axis=1).min() > 0.99
    assert (tmp_path / MODEL_FILE).stat().st_size < 30e6
