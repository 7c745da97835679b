"""The two pages that travel with every release: what the model is, and what it may reveal."""

from collections.abc import Mapping
from typing import Any


def model_card(facts: Mapping[str, Any], *, scenario: str, source: Mapping[str, Any]) -> str:
    """Markdown for people who decide whether to use a release.

    facts: the run's `--json` object so far. source: `dataset.json`.
    """
    return f"""# Model card: {scenario}, round {facts["rounds"]}

A LoRA adapter of {facts["shared_parameters"]:,} numbers on a frozen text-retrieval base model, trained by federated
averaging. It ranks the items of the index for a person's history; with a zero adapter it is zero-shot text retrieval.

| | |
| --- | --- |
| Trained on | {source["source"]}, {source["items"]:,} items |
| Licence of the data | {source["licence"]} |
| Privacy | {facts["privacy"]["statement"]} |
| Norm of the adapter | {facts["adapter_norm"]:.3f} |
| Sent and received by a client in a round | {facts["bytes_per_client_round"]:,} bytes |

**Use it** to rank items of this catalogue, or new items whose text is encoded by the same encoder. **Do not use it**
to infer traits of people. Quality on people unlike those it was trained on was not measured. `privacy.md` says what
the release may reveal; the manifest's signature says who made it.
"""


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
        ("Most participations of a client", "participations"),
        ("Cap on participations", "participation_cap"),
        ("Clip norm C", "clip_norm"),
        ("Noise multiplier", "noise_multiplier"),
    ]
    rows = [f"| {label} | {privacy[key]} |" for label, key in terms if privacy.get(key) is not None]
    lines = ["# Privacy of this release", "", f"**{privacy['statement']}**", "", "| | |", "| --- | --- |", *rows]
    for title, key in (("Covered", "covers"), ("Not covered", "does_not_cover")):
        if entries := privacy.get(key):
            lines += ["", f"## {title}", "", *(f"- {entry}" for entry in entries)]
    return "\n".join([*lines, ""])
