"""The two pages that travel with every release: what the model is, and what it may reveal."""

from collections.abc import Mapping
from typing import Any

from fedrec.reporting.figures import delta_text, epsilon_text
from fedrec.reporting.privacy.words import trust_sentence


def model_card(facts: Mapping[str, Any], *, scenario: str, source: Mapping[str, Any], device: str = "") -> str:
    """Markdown for people who decide whether to use a release.

    facts: the run's `--json` object so far. source: `dataset.json`. device: what it can do on one.
    """
    privacy = facts["privacy"]
    rows = [
        ("Trained on", f"{source['source']}, {source['items']:,} items"),
        ("Licence of the data", source["licence"]),
        ("Privacy", privacy["statement"]),
        ("Mode", f"{privacy['mode']}. {trust_sentence(privacy['mode'])}"),
        ("Unit", f"{privacy['unit']}: {privacy['unit_text']}" if privacy.get("unit") else None),
        ("Epsilon", _epsilon(privacy)),
        ("On a device", device),
        ("Norm of the adapter", f"{facts['adapter_norm']:.3f}"),
        ("Sent and received by a client in a round", f"{facts['bytes_per_client_round']:,} bytes"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows if value)
    return f"""# Model card: {scenario}, round {facts["rounds"]}

A LoRA adapter of {facts["shared_parameters"]:,} numbers on a frozen text-retrieval base model, trained by federated
averaging. It ranks the items of the index for a person's history; with a zero adapter it is zero-shot text retrieval.

| | |
| --- | --- |
{table}

**Use it** to rank items of this catalogue, or new items whose text is encoded by the same encoder.

**Do not use it** to infer traits of people, or to decide on credit, work, housing, health or law.

**Limits.** Quality on people unlike those it was trained on was not measured. It ranks what its data made popular, and
a person without a history gets text retrieval alone. Erasing somebody's data does not change a release that is out.
`privacy.md` says what the release may reveal; the manifest's signature says who made it.
"""


def _epsilon(privacy: Mapping[str, Any]) -> str | None:
    """Epsilon with what it is worth nothing without."""
    if privacy.get("epsilon") is None:
        return None
    spent = f"{epsilon_text(privacy['epsilon'])} at delta {delta_text(privacy['delta'])}, {privacy['adjacency']}"
    beside = privacy.get("epsilon_replace_one")
    whole = spent if beside is None else f"{spent}; replace-one {epsilon_text(beside)}"
    return whole if privacy.get("guarantee") else f"no guarantee; with secret noise {whole}"


def privacy_page(privacy: Mapping[str, Any]) -> str:
    """Markdown for a privacy officer: the statement, its terms, what it covers and what not."""
    terms = [
        ("Mode", "mode"),
        ("Unit", "unit_text"),
        ("Adjacency", "adjacency"),
        ("Epsilon", "epsilon"),
        ("Epsilon, one unit replaced", "epsilon_replace_one"),
        ("Delta", "delta"),
        ("Accountant", "accountant"),
        ("Sampling assumption", "sampling"),
        ("Sums under masks", "masks"),
        ("Most participations of a client", "participations"),
        ("Cap on participations", "participation_cap"),
        ("Clip norm C", "clip_norm"),
        ("Noise multiplier", "noise_multiplier"),
    ]
    rows = [f"| {label} | {privacy[key]} |" for label, key in terms if privacy.get(key) is not None]
    if coins := privacy.get("amplified"):
        rows.append(f"| Beside it, by secret coins | {coins['text']} |")
    lines = ["# Privacy of this release", "", f"**{privacy['statement']}**", "", "| | |", "| --- | --- |", *rows]
    for title, key in (("Covered", "covers"), ("Not covered", "does_not_cover")):
        if entries := privacy.get(key):
            lines += ["", f"## {title}", "", *(f"- {entry}" for entry in entries)]
    return "\n".join([*lines, ""])
