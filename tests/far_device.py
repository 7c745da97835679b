"""A torch device in place of a GPU: its numbers lie in this machine's memory, but no other device may touch them.

A program that mixes its tensors with those of the CPU, or reads them without copying them back, fails here as it fails
on a GPU. What a GPU rounds, and how fast it is, this does not say.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "far"
_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class FarTensor(torch.Tensor):
    """A tensor of that device. near: where its numbers are."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> "FarTensor":
        """Of the same shape and strides as what it stands for."""
        made = torch.Tensor._make_wrapper_subclass(
            cls, near.size(), near.stride(), near.storage_offset(), dtype=near.dtype, device=f"{NAME}:0"
        )
        made.near = near
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        """Without asking torch, which would read the numbers."""
        return f"FarTensor({self.near!r})"

    def tolist(self) -> Any:
        """As any device tells its numbers one by one."""
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute beside, and refuse what no GPU would do."""
        return _computed(func, args, kwargs or {})


class _FarMode(TorchDispatchMode):
    """Has tensors made on the device, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


@contextmanager
def far_device() -> Iterator[str]:
    """The device's name, for as long as this thread computes on it. The process has it for good: let it be a spare."""
    if not hasattr(torch, NAME):
        _setup_privateuseone_for_python_backend(NAME)
    with _FarMode():
        yield NAME


def _computed(func: Any, args: Any, named: Any) -> Any:
    given = [each for each in tree_leaves((args, named)) if isinstance(each, torch.Tensor)]
    far = [each for each in given if isinstance(each, FarTensor)]
    near = [each for each in given if not isinstance(each, FarTensor) and each.dim() > 0]
    if far and near and func not in _COPIES:
        raise RuntimeError(f"{func}: tensors of two devices, of shapes {[tuple(each.shape) for each in given]}.")
    asked = named.get("device")
    to_far = torch.device(asked).type == NAME if asked is not None else _stays_far(func, args, far)
    wrappers = {id(each.near): each for each in far}
    cpu = {"device": torch.device("cpu")} if asked is not None else {}
    found = func(*tree_map(_near, args), **tree_map(_near, named) | cpu)

    def back(each: Any) -> Any:
        if not to_far or not isinstance(each, torch.Tensor):
            return each
        # What was changed in place is still itself.
        return wrappers[id(each)] if id(each) in wrappers else FarTensor(each)

    return tree_map(back, found)


def _stays_far(func: Any, args: Any, far: list[FarTensor]) -> bool:
    """What is copied into stays where it is; what comes of far tensors is far."""
    return isinstance(args[0], FarTensor) if func is torch.ops.aten.copy_.default else bool(far)


def _near(each: Any) -> Any:
    return each.near if isinstance(each, FarTensor) else each
