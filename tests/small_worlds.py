"""Small worlds for the tests of model, training and privacy: random vectors, random people."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from fedrec.config import AdapterConfig, ModelConfig, TrainingConfig
from fedrec.data.sequences import Floats, History
from fedrec.model.adapter import AdaptedModel
from fedrec.model.build import adapt, build_recommender
from fedrec.model.heads import example_losses
from fedrec.model.item_index import Doubles, ItemIndex, build_index
from fedrec.privacy.plan import Limits, LocalSteps, PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.training.batches import collate
from fedrec.training.examples import Example, Shape, examples_of

ITEMS = 40
WIDTH = 12
DAY = 86_400
ALL_RANKS = {"history_proj": 6, "item_proj": 4, "items": 3, "intent_proj": 5, "rating_proj": 2}
ALL_HEADS = {"next_item": 1.0, "intent": 0.5, "rating": 0.25}


def a_history(rows: Sequence[int], **columns: Any) -> History:
    """A history of these rows, a day apart, all of them positives unless said otherwise."""
    size = len(rows)
    defaults = {
        "times": np.arange(size) * DAY,
        "weights": np.ones(size),
        "targets": np.ones(size),
        "intents": np.full(size, np.nan),
        "ratings": np.full(size, np.nan),
    }
    kinds = {
        "times": np.int64,
        "weights": np.float32,
        "targets": np.bool_,
        "intents": np.float32,
        "ratings": np.float32,
    }
    given = {name: np.asarray(columns.get(name, default), dtype=kinds[name]) for name, default in defaults.items()}
    return History(rows=np.asarray(rows, dtype=np.int64), **given)


def a_random_history(draw: Generator, length: int, *, rows: int = ITEMS, days: int = 120) -> History:
    """Every kind of entry: positives, silent ones, labels that are there and that are not."""
    return a_history(
        draw.integers(0, rows, length),
        times=np.sort(draw.integers(0, days * DAY, length)),
        weights=draw.choice([0.0, 0.5, 1.0], length),
        targets=draw.random(length) < 0.7,
        intents=draw.choice([np.nan, 0.0, 1.0], length),
        ratings=draw.choice([np.nan, 1.0, 3.5, 5.0], length),
    )


def without(history: History, where: np.ndarray) -> History:
    """The history with the marked events never having happened."""
    return history.take(~where)


def same(one: Example, other: Example) -> bool:
    """Whether two examples are equal bit for bit."""
    fields = ("targets", "aims", "intents", "ratings", "usual", "own")
    arrays = all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in fields)
    return arrays and all(map(torch.equal, one.inputs, other.inputs))


def an_index(items: int = ITEMS, width: int = WIDTH, seed: int = 0) -> ItemIndex:
    """An index over random embeddings."""
    embeddings = np.random.default_rng(seed).normal(size=(items, width)).astype(np.float32)
    return build_index(embeddings, [f"i{row}" for row in range(items)], encoder_name="random", encoder_hash="0")


def a_model(
    ranks: dict[str, int] | None = None,
    *,
    items: int = ITEMS,
    width: int = WIDTH,
    train_a: bool = False,
    prior: Floats | None = None,
    moved: float = 0.0,
) -> AdaptedModel:
    """A linear tower with its adapter; `moved` puts the adapter at a random place of that size."""
    index = an_index(items, width)
    config = ModelConfig(window=50)
    adapter = AdapterConfig(ranks=ranks or {"history_proj": 6}, train_a=train_a)
    model = adapt(build_recommender(config, index, prior=prior), config, adapter, index)
    if moved:
        model.load(np.random.default_rng(5).normal(size=model.layout.size) * moved)
    return model


class Laboratory:
    """A model, examples of random people, and the losses that training would take of them."""

    def __init__(
        self,
        model: AdaptedModel,
        histories: Sequence[History],
        *,
        training: TrainingConfig,
        shape: Shape | None = None,
    ) -> None:
        self.model = model
        self.training = training
        items = model.base.catalogue_size
        self.shape = shape or Shape(positions=training.positions, window=50)
        self.examples = examples_of(histories, model.base.tower, self.shape, items=items)
        self.negatives = torch.arange(0, items, 3) if training.negatives else None

    def losses(self, batch: Sequence[Example]) -> torch.Tensor:
        """(B,) one loss per example."""
        stacked = collate(batch, positions=self.training.positions)
        return example_losses(self.model.base, stacked, heads=self.training.heads, negatives=self.negatives)

    @property
    def rows_per_example(self) -> int:
        return self.training.positions if self.model.base.tower.flattens_positions else 1


def a_laboratory(
    ranks: dict[str, int] | None = None,
    *,
    people: int = 6,
    items: int = ITEMS,
    heads: dict[str, float] | None = None,
    negatives: int = 0,
    positions: int = 5,
    seed: int = 0,
    moved: float = 0.3,
) -> Laboratory:
    """People with ragged histories before a linear tower."""
    draw = np.random.default_rng(seed)
    histories = [a_random_history(draw, int(draw.integers(4, 12)), rows=items) for _ in range(people)]
    training = TrainingConfig(positions=positions, negatives=negatives, heads=heads or {"next_item": 1.0})
    return Laboratory(a_model(ranks, items=items, moved=moved), histories, training=training)


_LOCAL = {"steps": 1, "sampling_rate": 1.0, "expected_batch": 4.0, "segment_days": 30}
_LIMITS = {"cap": 5, "rounds": 100, "separation": 1}


def a_plan(**changes: Any) -> PrivacyPlan:
    """A plan for hubs, with the given changes to it, to its local steps or to its limits."""
    local = LocalSteps(**_LOCAL | {name: changes.pop(name) for name in _LOCAL if name in changes})
    limits = Limits(**_LIMITS | {name: changes.pop(name) for name in _LIMITS if name in changes})
    plan = PrivacyPlan(
        mode="local", unit="USER", clip_norm=0.5, noise_multiplier=1.0, delta=1e-6, limits=limits, local=local
    )
    return replace(plan, **changes)


def a_central_plan(**changes: Any) -> PrivacyPlan:
    """A plan for devices whose server adds the noise."""
    return a_plan(mode="central", local=None, **changes)


class Silent(RandomSource):
    """A source whose coins are real and whose noise is zero: what is left is the clipped sum."""

    def __init__(self) -> None:
        super().__init__(bytes(32), guarantee=False)

    def gaussian(self, size: int, *, noise_std: float) -> Doubles:  # noqa: ARG002
        return np.zeros(size)


TITLES = [f"{colour} {thing}" for colour in ("red", "green", "blue", "grey") for thing in ("boat", "house", "bird")]


def save_tiny_bert(folder: Path, *, width: int = 32, texts: Sequence[str] = TITLES) -> Path:
    """A random BERT of two layers with a tokenizer of the words of some texts, as transformers saves it."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({word for text in texts for word in re.findall(r"\w+", text)})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, ";", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=width,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=2 * width,
            max_position_embeddings=300,
        )
        BertModel(config).save_pretrained(folder)
    return folder


def a_text_model(
    encoder: Path, ranks: dict[str, int] | None = None, *, titles: int = 3, width: int = 32
) -> AdaptedModel:
    """The text tower over a saved encoder, before an index of random vectors."""
    index = an_index(len(TITLES), width)
    config = ModelConfig(tower="text", encoder=str(encoder), titles=titles)
    model = build_recommender(config, index, texts=(TITLES, []))
    return adapt(model, config, AdapterConfig(ranks=ranks or {"query": 4, "value": 4}), index)
