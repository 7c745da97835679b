"""A text encoder small enough for unit tests, in the form that releases bring: one vector per word, their mean."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from fedrec.model.onnx_encoder import FACTS_FILE, MODEL_FILE, TOKENIZER_FILE, OnnxEncoder

_PAD, _UNKNOWN = "[PAD]", "[UNK]"


def write_tiny_encoder(folder: Path, words: Sequence[str], *, width: int, digest: str, seed: int = 0) -> OnnxEncoder:
    """Write an encoder of these words; `digest` is the hash that it goes by."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: place for place, word in enumerate((_PAD, _UNKNOWN, *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / TOKENIZER_FILE))
    table = np.random.default_rng(seed).normal(size=(len(vocabulary), width)).astype(np.float32)
    onnx.save(_mean_of_words(table), str(folder / MODEL_FILE))
    facts = {"encoder": digest, "width": width, "padding": 0}
    (folder / FACTS_FILE).write_text(json.dumps(facts))
    return OnnxEncoder.open(folder)


def _mean_of_words(table: np.ndarray) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["read"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["read", "last"], ["marks"]),
        helper.make_node("Mul", ["rows", "marks"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["total"], keepdims=0),
        helper.make_node("Add", ["total", "little"], ["some"]),
        helper.make_node("LpNormalization", ["some"], ["units"], axis=1, p=2),
    ]
    constants = {
        "table": table,
        "last": np.array([2], dtype=np.int64),
        "middle": np.array([1], dtype=np.int64),
        "little": np.array(1e-6, dtype=np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "mean of words",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "S"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("units", TensorProto.FLOAT, ["B", table.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
