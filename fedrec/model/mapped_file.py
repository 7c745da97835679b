"""Safetensors files: the same content is the same bytes, and large tensors stay on the disk until they are read."""

import json
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fedrec.errors import DataError

Tensors = dict[str, npt.NDArray[Any]]

_LENGTH = struct.Struct("<Q")
_DTYPES = {"I8": np.int8, "U8": np.uint8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "F32": np.float32}


def write_tensors(path: Path, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write a file whose bytes follow from its content: the library alone orders the metadata by chance."""
    save_file(dict(tensors), path, dict(metadata))
    with path.open("r+b") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(metadata.items()))
        sorted_header = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        if len(sorted_header) != length:
            raise DataError(f"{path} cannot be written: its metadata holds characters that are escaped in two ways.")
        file.seek(_LENGTH.size)
        file.write(sorted_header)


def open_tensors(path: Path, *, mapped: Collection[str]) -> tuple[Tensors, dict[str, str]]:
    """All tensors of a file and its metadata; those in `mapped` are read-only views of the file itself.

    Raises DataError if the file is missing or no safetensors file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            metadata = file.metadata() or {}
            tensors: Tensors = {name: file.get_tensor(name) for name in names.difference(mapped)}
        # The library has checked the header by now: names, types and extents are sound.
        return tensors | _map(path, names.intersection(mapped)), metadata
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Fetch the release again.") from None
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}). Fetch the release again.") from None


def _map(path: Path, names: Collection[str]) -> Tensors:
    with path.open("rb") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        header = json.loads(file.read(length))
    first = _LENGTH.size + length
    return {name: _map_one(path, header[name], first) for name in names}


def _map_one(path: Path, entry: dict[str, Any], first: int) -> npt.NDArray[Any]:
    dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
    if 0 in shape:
        return np.zeros(shape, dtype=dtype)
    # As a plain array: slicing a memmap costs more than scoring a block.
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=first + entry["data_offsets"][0], shape=shape))
