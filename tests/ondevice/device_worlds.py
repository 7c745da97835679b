"""Small signed releases in the form that devices take, made without torch, and devices that hold them."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from fedrec.config import AdapterConfig, DataConfig, ModelConfig
from fedrec.data.events import Event, Kind
from fedrec.data.sequences import Floats
from fedrec.data.store.rows import OWNER
from fedrec.data.store.store import Store
from fedrec.model.catalogue_file import CATALOGUE, CatalogueFile
from fedrec.model.device_index import DEVICE_INDEX
from fedrec.model.frozen_hash import frozen_hash
from fedrec.model.item_index import ItemIndex, build_index
from fedrec.model.linear import ADAPTER_FILE, PRIOR_FILE
from fedrec.model.onnx_encoder import ENCODER
from fedrec.ondevice import releases
from fedrec.release import MANIFEST, SIGNATURE, Manifest, id_of, publish_release, signing_key
from tests.ondevice.tiny_encoder import write_tiny_encoder

NOW = 1_700_000_000
DAY = 86_400
ENCODER_HASH = "e" * 64
WORDS = (
    ("sea", "sail", "harbour", "wave", "anchor"),
    ("oven", "bread", "butter", "spice", "kettle"),
    ("planet", "rocket", "orbit", "comet", "moon"),
    ("forest", "trail", "summit", "tent", "river"),
)


@dataclass(frozen=True, kw_only=True)
class World:
    """What a release is made of. ranks: of the LoRA on each module, moved at random by `moved`."""

    index: ItemIndex
    titles: Sequence[str]
    categories: Sequence[str | None]
    providers: Sequence[str | None]
    published: Sequence[int | None]
    prior: Floats | None
    config: ModelConfig
    ranks: dict[str, int]
    moved: float = 0.1
    encoder: Path | None = None

    def __len__(self) -> int:
        return len(self.index)


def a_world(
    items: int = 60,
    *,
    width: int = 16,
    topics: int = 4,
    seed: int = 0,
    prior: bool = True,
    ranks: dict[str, int] | None = None,
    first: int = 0,
) -> World:
    """Items of a few topics, whose vectors lie near their topic's; ids start at `i{first}`."""
    draw = np.random.default_rng(seed)
    topic = np.arange(items) % topics
    centres = np.random.default_rng(99).normal(size=(topics, width))
    embeddings = (centres[topic] + 0.3 * draw.normal(size=(items, width))).astype(np.float32)
    ids = [f"i{first + row}" for row in range(items)]
    return World(
        index=build_index(embeddings, ids, encoder_name="test", encoder_hash=ENCODER_HASH),
        titles=[f"Title {first + row}" for row in range(items)],
        categories=[f"topic {each}" for each in topic],
        providers=[f"maker {row % 5}" if row % 7 else None for row in range(items)],
        published=[NOW - row * DAY if row % 3 else None for row in range(items)],
        prior=np.log1p(draw.integers(0, 50, items)).astype(np.float32) * 0.3 if prior else None,
        config=ModelConfig(window=50, prior="public" if prior else "none"),
        ranks=ranks if ranks is not None else {"history_proj": 4, "item_proj": 3, "items": 2},
    )


def a_text_world(folder: Path, items: int = 40, *, digest: str = ENCODER_HASH, seed: int = 0, first: int = 0) -> World:
    """A world whose items are words of their topics, read by a tiny encoder that is written to `folder`."""
    draw = np.random.default_rng(seed)
    encoder = write_tiny_encoder(
        folder, [word for words in WORDS for word in words], width=16, digest=digest, seed=seed
    )
    topics = [WORDS[row % len(WORDS)] for row in range(items)]
    titles = [" ".join(draw.choice(words, 3)) for words in topics]
    plain = a_world(items, topics=len(WORDS), seed=seed, ranks={"history_proj": 4}, first=first)
    index = build_index(encoder.encode(titles), plain.index.item_ids, encoder_name="tiny", encoder_hash=digest)
    return replace(plain, index=index, titles=titles, encoder=folder)


def a_release(parent: Path, world: World, *, round_number: int = 0, run: str = "run-1") -> Path:
    """The signed release of a world; its signer's keys lie in `parent`."""
    prior = np.zeros(len(world), np.float32) if world.prior is None else world.prior
    tensors = _adapter(world, seed=round_number)

    def write(folder: Path) -> None:
        (folder / "adapter").mkdir()
        save_file(tensors, folder / ADAPTER_FILE)
        world.index.save_int8(folder / DEVICE_INDEX)
        if world.prior is not None:
            save_file({"prior": world.prior}, folder / PRIOR_FILE)
        CatalogueFile.of(
            world.index.item_ids,
            titles=world.titles,
            texts=[None] * len(world),
            categories=world.categories,
            providers=world.providers,
            published=world.published,
        ).save(folder / CATALOGUE)
        if world.encoder is not None:
            shutil.copytree(world.encoder, folder / ENCODER)

    lineage = {
        "run": run,
        "round": round_number,
        "layout": f"layout of {sorted(world.ranks.items())}",
        "base_model": frozen_hash(world.config, world.index.content_hash, prior),
        "encoder": world.index.encoder_hash,
        "index": world.index.content_hash,
        "model": asdict(world.config),
        "data": asdict(DataConfig()),
        "adapter": asdict(AdapterConfig(ranks=world.ranks or {"history_proj": 1})),
        "tensors": [[name, list(tensor.shape)] for name, tensor in tensors.items() if "lora_B" in name],
    }
    key = signing_key(parent / "signing.key")
    return publish_release(parent, write, round_number=round_number, lineage=lineage, privacy={}, key=key)


def a_device(folder: Path, release: Path) -> Path:
    """A device folder with an empty store, and this release installed."""
    Store.create(folder, keys="file").close()
    releases.pin_signer(folder, release.parent / "signing.pub")
    releases.install(folder, release)
    return folder


def signed_again(folder: Path, signer: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """What a careless or hostile signer would publish."""
    manifest = json.loads((folder / MANIFEST).read_text())
    before = manifest["id"]
    change(manifest)
    if manifest["id"] == before:
        manifest["id"] = id_of(manifest["files"], manifest["lineage"])
    content = Manifest(**manifest).content()
    (folder / MANIFEST).write_bytes(content)
    (folder / SIGNATURE).write_text(signing_key(signer).sign(content).hex())


def an_event(item_id: str | None, kind: Kind = Kind.SAVE, *, time: int = NOW, **fields: object) -> Event:
    """One thing that the owner did."""
    return replace(Event(user_id=OWNER, item_id=item_id, timestamp=time, kind=kind), **fields)  # type: ignore[arg-type]


def _adapter(world: World, *, seed: int) -> dict[str, Floats]:
    draw = np.random.default_rng(seed + 7)
    width, tensors = world.index.width, {}
    for module, rank in sorted(world.ranks.items()):
        place = f"base_model.model.{'tower.' if module == 'history_proj' else ''}{module}"
        out = len(world) if module == "items" else width
        tensors[f"{place}.lora_A.weight"] = np.eye(rank, width, dtype=np.float32)
        tensors[f"{place}.lora_B.weight"] = (world.moved * draw.normal(size=(out, rank))).astype(np.float32)
    return tensors
