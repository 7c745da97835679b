"""Scoring what a simulation left behind: a run folder, or one of its signed releases."""

import time
from pathlib import Path
from typing import Any

from fedrec.config import DataConfig, ModelConfig
from fedrec.config_file import parse_table, read_run_config
from fedrec.data.dataset import Dataset
from fedrec.errors import ConfigError, DataError, VerificationError
from fedrec.evaluation.protocol import evaluate
from fedrec.model.adapter import load_released
from fedrec.model.build import encoder_path
from fedrec.model.catalogue_index import encode_queries
from fedrec.model.item_index import ItemIndex
from fedrec.model.layout import require_layout
from fedrec.model.scorer import ModelScorer
from fedrec.model.text_encoder import TextEncoder
from fedrec.release import MANIFEST, public_key, verify_release
from fedrec.runs.facts import run_facts
from fedrec.simulation.measures import baseline_results, evaluations, headlines
from fedrec.simulation.watching import Watcher, encoding
from fedrec.training.publishing import ADAPTER, released_base_model
from fedrec.training.run_folder import RunFolder
from fedrec.training.shared_files import INDEX
from fedrec.training.workbench import open_workbench, split_of


def evaluate_path(
    path: Path, data: Path, *, final: bool, baselines: bool, key: Path | None, watch: Watcher
) -> dict[str, Any]:
    """The object that `evaluate --json` prints, for a run folder or a release.

    key: the signer's public key, from a source that is trusted; the run's own signing.pub,
    which tells damage but not forgery, if None.
    """
    if (path / MANIFEST).exists():
        if baselines:
            raise ConfigError("--baselines belong to a run: name the run folder instead of one of its releases.")
        trusted = key or path.resolve().parents[1] / "signing.pub"
        return evaluate_release(path, data, final=final, key=trusted, watch=watch)
    return evaluate_run(path, data, final=final, baselines=baselines, watch=watch)


def evaluate_run(run: Path, data: Path, *, final: bool, baselines: bool, watch: Watcher) -> dict[str, Any]:
    """Score the last state of a run on a data set."""
    scenario, hashes = read_run_config(run)
    workbench = open_workbench(scenario, data, encoding(watch))
    require_layout(workbench.model.layout.hash, hashes["layout"])
    folder = RunFolder(run, (run / "config.toml").read_text(), resume=True)
    state = folder.state()
    if state is None:
        raise ConfigError(f"{run} has not finished a round yet. Resume it with `fedrec simulate --resume`.")
    if (prior := folder.prior()) is not None:
        workbench.model.base.set_prior(prior)
    workbench.model.load(state.adapter)
    began = time.monotonic()
    result = run_facts(workbench, folder, state)
    result |= headlines(evaluations(workbench, final=final, watch=watch))
    result["seconds"] = round(time.monotonic() - began, 3)
    if baselines:
        result["baselines"] = baseline_results(workbench, final=final, watch=watch)
    return result


def evaluate_release(folder: Path, data: Path, *, final: bool, key: Path, watch: Watcher) -> dict[str, Any]:
    """Score a release with what lies in it, after its signature and every file have been verified.

    key: file of the signer's public key. Raises VerificationError, or DataError if the
    data have another catalogue than the release.
    """
    manifest = verify_release(folder, public_key(key))
    lineage = manifest.lineage
    if not {"data", "model", "seed"} <= lineage.keys():
        raise VerificationError(f"{folder} was made by another version of fedrec. Evaluate it with that version.")
    dataset = Dataset.open(data)
    index = ItemIndex.load(folder / INDEX)
    if list(index.item_ids) != dataset.catalogue()["item_id"].to_list():
        raise DataError(f"{data} has another catalogue than the release. Evaluate it on data of the same items.")
    split = split_of(dataset, parse_table(DataConfig, lineage["data"]), seed=lineage["seed"])
    settings = parse_table(ModelConfig, lineage["model"])
    queries = encode_queries(TextEncoder.open(encoder_path(settings)), index, split.sequences.texts, cache=True)
    model = released_base_model(folder, manifest, queries)
    load_released(model, folder / ADAPTER)
    scorer = ModelScorer(model, window=settings.window)
    parts = ("validation", "test") if final else ("validation",)
    found = {
        part: evaluate(
            scorer,
            split,
            test=part == "test",
            seed=lineage["seed"],
            progress=lambda done, total: watch("evaluate", done, total),
        )
        for part in parts
    }
    facts = {"run": str(folder), "rounds": lineage["round"], "release": manifest.id, "privacy": manifest.privacy}
    return facts | headlines(found)
