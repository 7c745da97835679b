"""What a budget report says of sums under masks, in words, made from its JSON object and nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any

from fedrec.reporting.document import Block, Pairs, Table, Text
from fedrec.reporting.figures import count_text

Facts = Mapping[str, Any]


def masks_blocks(facts: Facts) -> Iterator[Block]:
    """The cohort and its grid, the rounds that gave nothing, and whom all of it trusts."""
    yield Text(
        "The server learns the sum of what a cohort sends, and nothing of any one client (docs/secagg.md). The numbers "
        "below follow from the cohort and the two rates; every client works them out again."
    )
    yield Pairs(list(_cohort(facts)))
    yield Pairs(list(_grid(facts)))
    if facts["rounds_without_sum"]:
        rows = [(str(line["round"]), line["why"], count_text(line["charges"])) for line in facts["rounds_without_sum"]]
        yield Table("Rounds that were paid for and gave nothing", ("Round", "Why", "Clients charged"), rows, wide=True)
    yield Text(facts["enrolment"])
    yield Text(facts["one_client"])


def _cohort(facts: Facts) -> Iterator[tuple[str, str]]:
    clients = facts["clients"]
    yield "Cohort", f"{count_text(clients)} clients, each with {facts['neighbours']} neighbours"
    yield "Threshold of shares", f"{facts['threshold']}: so many neighbours give a secret back"
    yield "May collude with the server", f"{facts['corrupt']} of {clients} ({100 * facts['corruption']:g}%)"
    yield "May drop out of a round", f"{facts['dropouts']} of {clients} ({100 * facts['drop_out']:g}%)"
    yield "Least number that a round needs", f"{facts['least_survivors']} survivors, or nothing is used of it"
    yield "Least number of honest clients in any sum (n_min)", count_text(facts["least_honest"])
    yield (
        "Probability of a smaller sum",
        f"{_chance(facts['failure'])} a round; {_chance(facts['failure_spent'])} of delta for whoever took part most",
    )


def _grid(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "Grid", f"{facts['steps']:,} steps to the norm {facts['norm']:g}, for at most {facts['size']:,} numbers"
    yield "Words", f"{facts['bits']} bits: no sum of the cohort can wrap"
    if not facts["share_variance"]:
        yield "Noise on the grid", "none: each client has noised its update before it is rounded"
        return
    yield "Noise of each client's share", f"variance {facts['share_variance']:,} squared steps, Skellam"
    yield (
        "Total variation of all shares from Skellam's",
        f"{_chance(facts['total_variation'])} a round, {_chance(facts['total_variation_spent'])} in all, inside delta",
    )


def _chance(probability: float) -> str:
    return f"{probability:.2g}"
