import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from fedrec.model.onnx_quantise import BLOCK, quantise_blocks, quantise_products


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 100), columns=st.integers(1, 9), seed=st.integers(0, 99), size=st.floats(1e-4, 1e4))
def test_codes_are_within_half_a_step_of_their_block(rows: int, columns: int, seed: int, size: float) -> None:
    matrix = (np.random.default_rng(seed).normal(size=(rows, columns)) * size).astype(np.float32)
    codes, scales = quantise_blocks(matrix)
    assert codes.shape == (columns, -(-rows // BLOCK), BLOCK)
    back = ((codes.astype(np.float64) - 128) * scales[:, :, None]).reshape(columns, -1)[:, :rows].T
    steps = np.repeat(scales, BLOCK, axis=1)[:, :rows].T
    assert (np.abs(back - matrix) <= steps * 0.5001).all()


def test_an_empty_block_stays_empty() -> None:
    codes, scales = quantise_blocks(np.zeros((40, 2), np.float32))
    assert (codes == 128).all()
    assert not scales.any()


def a_model(weight: np.ndarray) -> onnx.ModelProto:
    """x @ weight, and x @ x transposed: the second has no constant."""
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["y"]),
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "xt"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", len(weight)])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "z")],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {"x": x})
    return found


@pytest.mark.parametrize("rows", [32, 64, 100, 384])
def test_a_quantised_product_is_nearly_the_product(rows: int) -> None:
    draw = np.random.default_rng(rows)
    weight, x = draw.normal(size=(rows, 48)).astype(np.float32), draw.normal(size=(5, rows)).astype(np.float32)
    model = a_model(weight)
    assert quantise_products(model) == 1
    found, other = run(model, x)
    assert np.abs(found - x @ weight).max() < 0.03 * np.sqrt(rows)
    assert other == pytest.approx(x @ x.T, rel=1e-4, abs=1e-4)


def test_one_large_weight_costs_its_own_block_alone() -> None:
    draw = np.random.default_rng(0)
    weight, x = draw.normal(size=(96, 8)).astype(np.float32), draw.normal(size=(1, 96)).astype(np.float32)
    weight[5, 2], x[0, 5] = 1000.0, 0.0
    model = a_model(weight)
    quantise_products(model)
    errors = np.abs(run(model, x)[0] - x @ weight)[0]
    assert errors[2] > 10 * np.delete(errors, 2).max()
    assert np.delete(errors, 2).max() < 0.3


def test_the_float_weights_are_gone() -> None:
    weight = np.random.default_rng(0).normal(size=(384, 256)).astype(np.float32)
    model = a_model(weight)
    before = len(model.SerializeToString())
    quantise_products(model)
    assert len(model.SerializeToString()) < 0.3 * before
