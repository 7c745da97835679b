"""The exported encoder, made once per machine: an export takes some ten seconds, a copy none."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fedrec.errors import RefusedError
from fedrec.model.onnx_encoder import FACTS_FILE
from fedrec.model.text_encoder import TextEncoder, cache_folder
from fedrec.release import hash_file

# Raised whenever an export of the same encoder comes out in another way.
_FORMAT = "1"
_log = logging.getLogger(__name__)


def place_exported_encoder(encoder: TextEncoder, folder: Path, texts: Sequence[str]) -> None:
    """Put the files of an encoder's export into `folder`, which must not exist; whole or not at all.

    texts: public ones, which a new export is checked on.
    Raises ConfigError if the encoder has no form for devices, VerificationError if that form disagrees with it,
    RefusedError if what exports it is not installed.
    """
    kept = cache_folder("encoders") / hashlib.sha256(f"{_FORMAT}|{encoder.fingerprint()}".encode()).hexdigest()
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        if _is_intact(kept):
            shutil.copytree(kept, draft, copy_function=shutil.copyfile, dirs_exist_ok=True)
        else:
            _export(encoder, draft, texts)
            _keep(draft, kept)
        draft.chmod(0o755)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _export(encoder: TextEncoder, folder: Path, texts: Sequence[str]) -> None:
    # Lazily: the exporter takes seconds to import, and is needed once per machine.
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401

        from fedrec.model.onnx_export import export_encoder
    except ModuleNotFoundError as error:
        raise RefusedError(
            f"The encoder for devices cannot be exported: {error.name} is not installed. "
            'Run `pip install "fedrec[train]"` again.'
        ) from None
    export_encoder(encoder, folder, texts)


def _is_intact(kept: Path) -> bool:
    """Whether an earlier export lies there as it was written."""
    try:
        files: dict[str, str] = json.loads((kept / FACTS_FILE).read_text())["files"]
        return bool(files) and all(hash_file(kept / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _keep(made: Path, kept: Path) -> None:
    """Keep an export for the next run; a run does not fail because that cannot be done."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        copy = Path(tempfile.mkdtemp(prefix=".export.", dir=kept.parent))
        try:
            shutil.copytree(made, copy, copy_function=shutil.copyfile, dirs_exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
            copy.rename(kept)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
    except OSError as error:
        _log.warning("The exported encoder could not be kept (%s); the next run exports it again.", error.strerror)
