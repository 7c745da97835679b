"""The language model as the user tower: it reads a person's last titles as one text.

LoRA sits on its attention's query and value. With a zero adapter it is zero-shot text
retrieval, as the linear tower is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedrec.data.sequences import History, Ints
from fedrec.errors import ConfigError
from fedrec.model.item_index import Whitening
from fedrec.model.recommender import Tower, UserState, frozen_linear

_TOKENS_PER_TITLE = 16
_LONGEST = 256


class TextTower(Tower):
    """A `transformers` encoder over the text of the last `titles` entries, newest first.

    texts: of every row of the index, then of every query text. whitening: the index's,
    so that the pooled text lands in the space of the items.
    Raises ConfigError if the encoder's width is not the index's.
    """

    flattens_positions = True

    def __init__(self, encoder: Path, texts: Sequence[str], whitening: Whitening, *, titles: int) -> None:
        super().__init__()
        self.texts = texts
        self.titles = titles
        self.tokens = min(_LONGEST, titles * _TOKENS_PER_TITLE)
        self.encoder, self.tokenizer = _load(encoder)
        width = int(getattr(self.encoder.config, "hidden_size", 0))
        if width != len(whitening.mean):
            raise ConfigError(
                f"The encoder is {width} wide and the item index {len(whitening.mean)}. "
                "The text tower needs an index of its own encoder, without other modalities."
            )
        turn = (whitening.rotation.astype(np.float64) * whitening.scale).astype(np.float32)
        self.whiten = frozen_linear(torch.from_numpy(np.ascontiguousarray(turn.T)))
        self.mean: Tensor
        self.register_buffer("mean", torch.from_numpy(whitening.mean.copy()), persistent=False)

    def inputs(self, history: History, positions: Ints) -> tuple[Tensor, ...]:
        told = np.flatnonzero(history.weights > 0)
        texts = []
        for position in positions:
            latest = told[told < position][-self.titles :][::-1]
            texts.append("; ".join(self.texts[int(history.rows[entry])] for entry in latest))
        tokens = self.tokenizer(
            texts, padding="max_length", truncation=True, max_length=self.tokens, return_tensors="pt"
        )
        said = tokens["attention_mask"] * torch.tensor([[bool(text)] for text in texts]).reshape(-1, 1)
        return tokens["input_ids"], torch.cat([tokens["attention_mask"][:, :1], said[:, 1:]], dim=1)

    def forward(self, *inputs: Tensor) -> UserState:
        ids, mask = inputs
        shape = ids.shape[:-1]
        longest = max(1, int(mask.reshape(-1, mask.shape[-1]).sum(-1).max())) if mask.numel() else 1
        ids, mask = (given.reshape(-1, given.shape[-1])[:, :longest] for given in (ids, mask))
        # A padded position reads its first token alone: a mean over nothing would be no number.
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], dim=1)
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        taste = self.whiten(functional.normalize(pooled, dim=-1) - self.mean)
        # Nothing told yet is a single token: such a person asks for nothing in particular.
        taste = (taste * (mask.sum(1, keepdim=True) > 1)).reshape(*shape, -1)
        return UserState(query=taste, taste=taste)


def _load(folder: Path) -> tuple[nn.Module, Any]:
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # Dropout would share one draw of randomness between examples of a private batch.
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
        model = AutoModel.from_pretrained(folder, config=config, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.encoder: {folder} holds no encoder that transformers can load ({error}).") from None
    return model.requires_grad_(False), tokenizer
