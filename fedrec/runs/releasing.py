"""Writing the release of a state with its card and its privacy page."""

from dataclasses import asdict
from pathlib import Path

from fedrec.reporting.model_card import model_card, privacy_page
from fedrec.runs.facts import run_facts
from fedrec.training.aggregation import ServerState
from fedrec.training.foundation import Foundation
from fedrec.training.publishing import Publisher
from fedrec.training.run_folder import RunFolder


def release(
    foundation: Foundation, folder: RunFolder, publisher: Publisher, *, state: ServerState, ledger_head: str
) -> Path:
    """The release of a state lies in its folder, signed; it says what the ledger says at this moment."""
    facts = run_facts(foundation, folder, state)
    source = asdict(foundation.dataset.info)
    return publisher.publish(
        state,
        ledger_head=ledger_head,
        privacy=facts["privacy"],
        card=lambda device: model_card(facts, scenario=foundation.scenario.name, source=source, device=device),
        privacy_text=privacy_page(facts["privacy"]),
    )
