"""Files for a child process that lie on no disk: secrets that another program wants to be given as paths."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HiddenFiles:
    """paths: by name, as the child opens them. handles: which the child has to inherit."""

    paths: Mapping[str, str]
    handles: tuple[int, ...]


@contextmanager
def hidden_files(contents: Mapping[str, bytes]) -> Iterator[HiddenFiles]:
    """Files with these contents, in memory where the system can; gone when the block ends and the child has ended.

    Where it cannot, they are files of mode 0600 in a folder of mode 0700, deleted when the block ends.
    """
    with ExitStack() as stack:
        if sys.platform == "linux":
            handles = {name: _in_memory(content) for name, content in contents.items()}
            for handle in handles.values():
                stack.callback(os.close, handle)
            paths = {name: f"/proc/self/fd/{handle}" for name, handle in handles.items()}
            yield HiddenFiles(paths, tuple(handles.values()))
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedrec-")))
            yield HiddenFiles({name: str(_private(folder / name, content)) for name, content in contents.items()}, ())


def _in_memory(content: bytes) -> int:
    handle = os.memfd_create("fedrec", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(handle), "wb") as file:
        file.write(content)
    return handle


def _private(path: Path, content: bytes) -> Path:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    return path
