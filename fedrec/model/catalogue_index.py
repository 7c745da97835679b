"""From a dataset's public catalogue to its item index, and from query texts to the index's space."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from fedrec.data.dataset import Dataset
from fedrec.errors import DataError, LayoutError
from fedrec.model.item_index import Floats, ItemIndex, build_index, fuse
from fedrec.model.text_encoder import UNKNOWN_WORD_LIMIT, Progress, TextEncoder, UnknownWordsWarning

_VECTOR_PREFIX = "vector_"


def index_for(
    dataset: Dataset,
    encoder: TextEncoder,
    progress: Progress | None = None,
    *,
    modality_weights: Mapping[str, float] | None = None,
) -> ItemIndex:
    """The item index of a dataset's catalogue, in the catalogue's order; embeddings are cached.

    A `vector_NAME` column joins the text with modality_weights[NAME] (1 unless given).
    Warns with UnknownWordsWarning if the encoder does not know the language.
    """
    catalogue = dataset.catalogue()
    texts = catalogue.select(pl.coalesce("text", "title", pl.lit("")))["text"].to_list()
    warn_about_unknown_words(encoder, texts)
    embeddings = encoder.encode(texts, progress)
    modalities = {
        name.removeprefix(_VECTOR_PREFIX): _matrix(catalogue[name])
        for name in catalogue.columns
        if name.startswith(_VECTOR_PREFIX)
    }
    if modalities:
        embeddings = fuse(embeddings, modalities, modality_weights)
    return build_index(embeddings, catalogue["item_id"].to_list(), encoder_name=encoder.name, encoder_hash=encoder.hash)


def encode_queries(encoder: TextEncoder, index: ItemIndex, texts: Sequence[str], *, cache: bool = False) -> Floats:
    """(T, d) float32 vectors of search and comment texts, in the space of the index.

    cache: off, because what people write is private; a simulation on public data may turn it on.
    Raises LayoutError if the index was made by another encoder.
    """
    if encoder.hash != index.encoder_hash:
        raise LayoutError(
            f"The index was made by {index.encoder_name} ({index.encoder_hash[:12]}), not by {encoder.name} "
            f"({encoder.hash[:12]}). Encode the catalogue again."
        )
    if not texts:
        return np.zeros((0, index.width), dtype=np.float32)
    return index.whitening.apply_to_texts(encoder.encode(texts, cache=cache))


def warn_about_unknown_words(encoder: TextEncoder, texts: Sequence[str]) -> None:
    """Warn with UnknownWordsWarning where more than a fifth of the words are unknown to the encoder."""
    share = encoder.unknown_word_share(texts)
    if share > UNKNOWN_WORD_LIMIT:
        warnings.warn(
            f"{encoder.name} does not know {share:.0%} of the catalogue's words: it was probably trained on another "
            "language, and its vectors will say little. Name a multilingual encoder with --encoder.",
            UnknownWordsWarning,
            stacklevel=3,
        )


def _matrix(column: pl.Series) -> npt.NDArray[np.float64]:
    present = [row for row in column.to_list() if row is not None]
    widths = {len(row) for row in present}
    if len(widths) != 1:
        raise DataError(f"`{column.name}` holds vectors of {len(widths)} different lengths. Import the data again.")
    matrix = np.full((len(column), widths.pop()), np.nan)
    matrix[column.is_not_null().to_numpy()] = np.array(present, dtype=np.float64)
    return matrix
