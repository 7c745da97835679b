import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from fedrec.errors import DataError, VerificationError
from fedrec.model.device_index import DeviceIndex
from fedrec.model.item_index import ItemIndex, Whitening, quantise

from .test_item_index import embed, ids, make_index


def opened(folder: Path, index: ItemIndex) -> DeviceIndex:
    index.save_int8(folder / "index.int8.safetensors")
    return DeviceIndex.open(folder / "index.int8.safetensors")


@pytest.fixture
def index() -> ItemIndex:
    return make_index(rows=50, width=8)


def test_it_is_the_index_that_was_saved(tmp_path: Path, index: ItemIndex) -> None:
    device = opened(tmp_path, index)
    assert (len(device), device.width) == (50, 8)
    assert list(device.item_ids) == list(index.item_ids)
    assert (device.content_hash, device.encoder_hash) == (index.content_hash, index.encoder_hash)
    assert np.array_equal(device.whitening.apply(embed(3, 8, 5)), index.whitening.apply(embed(3, 8, 5)))


def test_its_vectors_are_the_codes_times_their_scales(tmp_path: Path, index: ItemIndex) -> None:
    codes, scales = quantise(index.vectors)
    device = opened(tmp_path, index)
    assert np.array_equal(device.vectors(slice(None)), codes * scales[:, None])
    assert np.array_equal(device.vectors(np.array([7, 3, 7])), device.vectors(slice(None))[[7, 3, 7]])
    assert device.vectors(np.array([], dtype=np.int64)).shape == (0, 8)


@pytest.mark.parametrize("rows", [[50], [-1], [0, 99]])
def test_rows_outside_of_it_are_an_error(tmp_path: Path, index: ItemIndex, rows: list[int]) -> None:
    with pytest.raises(IndexError):
        opened(tmp_path, index).vectors(np.array(rows))


@settings(max_examples=20, deadline=None)
@given(rows=st.sampled_from([1, 2, 2047, 2048, 2049, 4100]), width=st.integers(2, 9), seed=st.integers(0, 99))
def test_scores_are_the_exact_products_in_every_block(
    tmp_path_factory: pytest.TempPathFactory, rows: int, width: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    made = make_index(rows=max(rows, 2), width=width, seed=seed)
    device = opened(tmp_path_factory.mktemp("index"), made)
    query = draw.normal(size=width).astype(np.float32)
    expected = device.vectors(slice(None)).astype(np.float64) @ query
    found = device.scores(query)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_query_of_another_width_is_refused(tmp_path: Path, index: ItemIndex) -> None:
    for shape in ((7,), (1, 8), ()):
        with pytest.raises(DataError, match="does not fit an index of width 8"):
            opened(tmp_path, index).scores(np.zeros(shape, np.float32))


def test_added_items_lie_behind_the_others_which_stay_as_they_are(tmp_path: Path, index: ItemIndex) -> None:
    device = opened(tmp_path, index)
    added = embed(3, 8, 9)
    longer = device.extended(["new 1", "new 2"], added[:2]).extended(["new 3"], added[2:])
    assert (len(device), len(longer)) == (50, 53)
    assert [longer.row_of(name) for name in ("new 1", "new 3", index.item_ids[4], "nobody")] == [50, 52, 4, None]
    assert np.array_equal(longer.vectors(np.array([51, 4, 52])), [added[1], device.vectors(slice(4, 5))[0], added[2]])
    query = embed(1, 8, 3)[0]
    assert longer.scores(query)[:50] == pytest.approx(device.scores(query))
    assert longer.scores(query)[50:] == pytest.approx(added @ query, rel=1e-5)
    assert longer.content_hash == index.content_hash


@pytest.mark.parametrize(
    ("names", "vectors"),
    [
        (["a", "a"], np.zeros((2, 8))),
        ([ids(1)[0]], np.zeros((1, 8))),
        (["a"], np.zeros((1, 7))),
        (["a", "b"], np.zeros((1, 8))),
        (["a"], np.full((1, 8), np.nan)),
    ],
)
def test_items_that_cannot_be_added_are_refused(
    tmp_path: Path, index: ItemIndex, names: list[str], vectors: np.ndarray
) -> None:
    with pytest.raises(DataError):
        opened(tmp_path, index).extended(names, vectors)


def test_the_index_for_training_is_not_a_devices(tmp_path: Path, index: ItemIndex) -> None:
    index.save(tmp_path / "index.safetensors")
    with pytest.raises(DataError, match="is the index for training"):
        DeviceIndex.open(tmp_path / "index.safetensors")


@pytest.mark.parametrize("content", [b"", b"x" * 7, b"x" * 100, (1 << 40).to_bytes(8, "little") + b"{}"])
def test_what_is_no_index_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some").write_bytes(content)
    with pytest.raises(DataError, match="Fetch the release again"):
        DeviceIndex.open(tmp_path / "some")
    with pytest.raises(DataError, match="does not exist"):
        DeviceIndex.open(tmp_path / "absent")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_edited_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("index") / "index"
    make_index(rows=6, width=4).save_int8(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises((DataError, VerificationError)):
        DeviceIndex.open(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors | {"codes": tensors["codes"][:-1]},
        lambda tensors: tensors | {"codes": tensors["codes"].astype(np.float32)},
        lambda tensors: tensors | {"codes": tensors["codes"].reshape(-1)},
        lambda tensors: tensors | {"scales": tensors["scales"][:-1]},
        lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "scales"},
    ],
)
def test_tensors_of_another_shape_are_refused(tmp_path: Path, index: ItemIndex, change) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "index"
    index.save_int8(path)
    with safe_open(path, framework="numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file({name: np.ascontiguousarray(each) for name, each in change(tensors).items()}, path, metadata)
    with pytest.raises((DataError, VerificationError)):
        DeviceIndex.open(path)


def test_threads_share_it(tmp_path: Path, index: ItemIndex) -> None:
    device = opened(tmp_path, index)
    queries = embed(40, 8, 1)
    found: dict[int, np.ndarray] = {}

    def ask(first: int) -> None:
        for number in range(first, 40, 4):
            found[number] = device.scores(queries[number])

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    vectors = device.vectors(slice(None))
    assert all(found[number] == pytest.approx(vectors @ queries[number], abs=1e-5) for number in range(40))


@pytest.mark.slow
def test_the_codes_are_not_read_into_memory(tmp_path: Path) -> None:
    """Asked of a fresh interpreter: memory that only this process holds, before and after."""
    plain = Whitening(np.zeros(512, np.float32), np.eye(512, dtype=np.float32), np.ones(512, np.float32))
    vectors = np.random.default_rng(0).normal(size=(20_000, 512)).astype(np.float32)
    ItemIndex(ids(20_000), vectors, plain, "toy", "0" * 64).save_int8(tmp_path / "index")
    script = f"""
from pathlib import Path
from fedrec.model.device_index import DeviceIndex
def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
before = own()
index = DeviceIndex.open(Path({str(tmp_path / "index")!r}))
list(index.item_ids[:1])
print(own() - before)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # Ten megabytes of codes stay where they are; ids, and what importing left for later, take a few.
    assert int(found.stdout) < 7_000
