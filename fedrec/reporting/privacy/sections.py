"""The sections of a budget report in words, made from its JSON object and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedrec.reporting.charts import Curve, epsilon_chart
from fedrec.reporting.document import Block, Bullets, Code, Figure, Pairs, Section, Table, Text
from fedrec.reporting.figures import ABSENT, Interval, count_text, delta_text, epsilon_text, rounded_down
from fedrec.reporting.privacy import words
from fedrec.reporting.privacy.audit_words import audit_tables, audit_words
from fedrec.reporting.privacy.charts import delta_chart, participation_chart
from fedrec.reporting.privacy.masks_words import masks_blocks

Facts = Mapping[str, Any]


def sections(report: Facts) -> list[Section]:
    """Every section that the report has something to say in, in reading order."""
    noised = report["epsilon"] is not None
    made = [
        Section("identity", "Which run this is", list(_identity(report))),
        Section("setting", "Who is trusted, and who sees what", list(_setting(report["setting"]))),
        Section("protected", "What is protected, and what is not", list(_protected(report))),
    ]
    if noised:
        made += [
            Section("epsilon", "Epsilon and delta", list(_epsilon(report))),
            Section("spent", "What was spent, and what is left", list(_spent(report))),
            Section("mechanism", "The noise", [_pairs(_mechanism(report["mechanism"], masked=bool(report["masks"])))]),
        ]
    if report["masks"]:
        made.append(Section("masks", "The sum under masks", list(masks_blocks(report["masks"]))))
    if noised:
        made += [
            Section("sampling", "Who took part", list(_sampling(report))),
            Section("accountant", "The accountant, and what it assumes", list(_accountant(report))),
        ]
    made.append(
        Section(
            "verification",
            "What was verified",
            list(_verification(report["verification"], mode=report["setting"]["mode"])),
        )
    )
    if noised:
        made.append(Section("recompute", "Compute it again", list(_recompute(report["recompute"]))))
    if report["utility"]:
        made.append(Section("utility", "What the privacy cost", list(_utility(report["utility"]))))
    return [*made, Section("limitations", "Limits of this report", [Bullets("", report["limitations"])])]


def _identity(report: Facts) -> Iterator[Block]:
    facts = report["identity"]
    data, dates = facts["dataset"], facts["dates"]
    span = " to ".join(day for day in (dates["first"], dates["last"]) if day)
    source = ", ".join(data[name] for name in ("name", "source", "licence") if data[name])
    yield _pairs(
        [
            ("Curator", facts["curator"]),
            ("Purpose", facts["purpose"]),
            ("Contact", facts["contact"]),
            ("Run", f"{facts['run']} ({facts['scenario']})"),
            ("Run id", facts["run_id"]),
            ("Dates of the run", f"{span}, by {dates['source']}" if span else None),
            ("Report made", facts["made"]),
            ("Data", source),
            ("Hash of the data", data["hash"]),
            ("Last release", facts["release"]),
            ("Hash of its adapter (SHA-256)", facts["adapter_sha256"]),
            ("Hash of the base model", facts["base_model"]),
            ("Hash of the text encoder", facts["encoder"]),
            ("Hash of the item index", facts["item_index"]),
            ("Layout of the adapter", facts["layout"]),
        ]
    )


def _setting(setting: Facts) -> Iterator[Block]:
    yield Text(f"Mode {setting['mode']}. {setting['trust']}")
    rows = [tuple(party[name] for name in ("who", "sees", "stopped_by", "left")) for party in setting["parties"]]
    yield Table("Who sees what", ("Who", "Sees", "What stands in the way", "What is left"), rows, wide=True)


def _protected(report: Facts) -> Iterator[Block]:
    if unit := report["unit"]:
        yield _pairs(
            [
                ("Unit", f"{unit['name']}: {unit['text']}"),
                ("Period", unit["period"]),
                ("Adjacency", f"{unit['adjacency']}: {unit['adjacency_text']}"),
                ("What is protected", "every iterate: the adapter of every round, not only the last one"),
            ]
        )
        rows = [(cap["what"], _short(cap["limit"]), cap["enforced_by"]) for cap in unit["caps"]]
        yield Table("Caps on what one unit contributes", ("Cap", "Limit", "Enforced by"), rows, wide=True)
    if report["protected"]:
        yield Bullets("Protected", report["protected"])
    yield Bullets("Not protected", report["not_protected"])


def _epsilon(report: Facts) -> Iterator[Block]:
    epsilon, unit = report["epsilon"], report["unit"]["name"]
    yield _pairs(
        [
            (f"Epsilon per {unit}", f"{epsilon_text(epsilon['value'])} (to four decimals: {epsilon['value']:.4f})"),
            ("Delta", f"{delta_text(epsilon['delta'])}: {epsilon['delta_reason']}"),
            (
                "Replace-one, beside it",
                f"{epsilon_text(epsilon['replace_one'])}, where a unit is exchanged for another (sensitivity 2 C)",
            ),
            ("zCDP rho", _optional(epsilon["zcdp_rho"])),
            ("Gaussian DP mu", _optional(epsilon["gdp_mu"])),
            ("On rho and mu", epsilon["gaussian_note"]),
        ]
    )
    points = [(point["delta"], point["epsilon"]) for point in epsilon["curve"]]
    yield Figure(delta_chart(points, reported=epsilon["delta"], unit=unit))
    if unit == "USER":
        yield Text(f"The word beside an epsilon follows {words.SCALE}.")


def _spent(report: Facts) -> Iterator[Block]:
    facts, unit = report["composition"], report["unit"]["name"]
    budget, counts = facts["budget"], facts["counts"]
    total = "with the earlier runs" if facts["spent"]["with_earlier_runs"] else "by this run"
    yield _pairs(
        [
            (f"Spent {total}", f"epsilon {epsilon_text(facts['spent']['epsilon'])} per {unit}"),
            ("Against whom", facts["holds"]),
            ("Budget", f"epsilon {epsilon_text(budget['epsilon'])}: {budget['what']}"),
            ("Left for whoever spent most", _left(facts)),
            ("zCDP rho of all that was spent", _optional(facts["spent"]["zcdp_rho"])),
            ("Gaussian DP mu of all that was spent", _optional(facts["spent"]["gdp_mu"])),
            ("Tuning and earlier trials", facts["tuning"]),
            (
                "Charged beside the training",
                f"{counts['popularity']} releases of popularity, {counts['metrics']} of metrics; "
                f"{counts['interrupted']} interrupted attempts, {counts['dropped']} rounds with too few replies",
            ),
        ]
    )
    name = "with earlier runs" if facts["earlier_runs"] else "spent"
    curve = Curve(name, tuple((line["round"], line["epsilon"]) for line in report["rounds"]))
    if curve.points:
        yield Figure(epsilon_chart([curve], budget=budget["epsilon"], unit=unit))
    if facts["spent"]["with_earlier_runs"]:
        points = [(point["delta"], point["epsilon"]) for point in facts["spent"]["curve"]]
        told = [(delta_text(delta), epsilon_text(epsilon)) for delta, epsilon in points]
        yield Table("Spent with the earlier runs, at every delta", ("Delta", "Epsilon"), told)
    yield Table(
        "Everything that the ledger was charged for", _ENTRY_COLUMNS, [_entry(line) for line in facts["entries"]]
    )
    if facts["earlier_runs"]:
        rows = [
            (
                run["run"],
                run["mode"],
                epsilon_text(run["epsilon"]),
                count_text(run["entries"]),
                "yes" if run["guarantee"] else "NO: seeded",
                run["ledger_head"],
            )
            for run in facts["earlier_runs"]
        ]
        columns = ("Earlier run", "Mode", "Epsilon, at most", "Entries", "Secret noise", "Ledger head")
        yield Table("Earlier runs on the same people", columns, rows, wide=True)
    yield Bullets("When it stops", facts["stop_rules"])


def _left(facts: Facts) -> str:
    left, over = facts["remaining"], facts["budget"]["over_by"]
    if over:
        return f"NOTHING: {epsilon_text(over)} over, and {left['participations']} participations of the cap"
    return (
        f"epsilon {rounded_down(left['epsilon'], 2):.2f}, and {left['participations']} participations; "
        "epsilons do not simply add, so what a further round costs has to be computed"
    )


_ENTRY_COLUMNS = ("For", "Entries", "Clients charged", "Noise multiplier", "Clip norm", "Sampling rate", "Steps")


def _entry(line: Facts) -> tuple[str, ...]:
    numbers = (_short(line[name]) for name in ("noise_multiplier", "clip_norm", "sampling_rate", "steps"))
    return (line["what"], count_text(line["entries"]), count_text(line["charges"]), *numbers)


def _mechanism(facts: Facts, *, masked: bool) -> list[tuple[str, str | None]]:
    real = facts["noise_std_realised"]
    realised = None
    if real:
        same = real["least"] == real["most"]
        span = _short(real["least"]) if same else f"{_short(real['least'])} to {_short(real['most'])}"
        realised = f"{span} in {count_text(real['entries'])} ledger entries"
    return [
        ("Mechanism", facts["name"]),
        ("What is clipped", facts["clipped"]),
        ("Who adds the noise", facts["noised_by"]),
        ("Clip norm C", _short(facts["clip_norm"])),
        ("Noise multiplier", _short(facts["noise_multiplier"])),
        ("Noise std on the sum, planned", f"{_short(facts['noise_std'])} on every coordinate"),
        ("Noise std on the sum, in the ledger", realised),
        ("The sum is divided by", f"{_short(facts['divided_by'])}: {facts['divisor']}"),
        ("Correlation", f"{facts['bands']} rounds, separation {facts['separation']}" if facts["bands"] > 1 else "none"),
        (
            "Grid and modulus",
            f"steps of {_short(facts['grid'])}, modulo {facts['modulus']:,}"
            if masked
            else "none: numbers are floating point, nothing is masked",
        ),
        (
            "Least number of honest clients in a sum (n_min)" if masked else "Least number of replies (n_min)",
            _optional(facts["n_min"]) or "1: every client noises its own reply",
        ),
        ("Randomness", facts["randomness"]),
        ("Floating point", facts["float_safety"]),
    ]


def _sampling(report: Facts) -> Iterator[Block]:
    facts, taken = report["sampling"], report["participations"]
    yield _pairs(
        [
            ("Claimed in the accounting", facts["claimed"]),
            ("What the server does", facts["actual"]),
            ("Amplification by sampling", facts["amplification"]),
            ("Beside the headline", facts["amplified"]["text"] if facts["amplified"] else None),
            ("Sampling rate q of a step", _short(facts["sampling_rate"])),
            ("Steps of a participation", _short(facts["steps"])),
            ("Clients N", None if facts["clients"] is None else count_text(facts["clients"])),
            ("Cohort of a round", count_text(facts["cohort"])),
            ("Rounds R", f"{facts['rounds']} of {facts['planned_rounds']} planned"),
            ("Cap on participations k", count_text(facts["participation_cap"])),
            ("Most participations of a client", count_text(facts["most_participations"])),
        ]
    )
    bars = [(bar["participations"], bar["clients"]) for bar in taken["histogram"]]
    if bars:
        yield Figure(participation_chart(bars, cap=facts["participation_cap"]))
    yield Text(f"Counted: {taken['counted']}.")


def _accountant(report: Facts) -> Iterator[Block]:
    facts = report["accountant"]
    other = facts["cross_check"]
    versions = report["verification"]["versions"]["report"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("dp-accounting", "opacus") if name in versions)
    yield _pairs(
        [
            ("Accountant", f"{facts['name']}: epsilon {facts['epsilon']:.4f}"),
            ("Relation", facts["relation"]),
            (
                "Cross-check",
                f"{other['name']}: epsilon {other['epsilon']:.4f}; the report stops {other['alarm']}",
            ),
            *_beside(facts),
            ("Versions", named),
        ]
    )
    rows = [(each["assumption"], each["state"], each["evidence"]) for each in facts["assumptions"]]
    yield Table("What has to hold", ("Assumption", "State", "Evidence"), rows, wide=True)
    yield Text(
        "“Met” and “not met” are shown by the records of this run. “By construction” is what the program does and the "
        "records cannot show. “Assumed” is what only people can know."
    )


def _beside(facts: Facts) -> list[tuple[str, str | None]]:
    """Looser bounds than the one that is reported."""
    if facts["published_epsilon"] is None:
        return [("Conservative bound beside it", f"Rényi DP: epsilon {facts['rdp_epsilon']:.4f}")]
    return [
        (
            "What is fedrec's own in it",
            "the bound between whole orders, derived in fedrec/privacy/skellam.py and tested there against exact sums",
        ),
        ("By the published bound alone, at whole orders", f"Rényi DP: epsilon {facts['published_epsilon']:.4f}"),
    ]


def _verification(facts: Facts, *, mode: str) -> Iterator[Block]:
    ledger, audit, code = facts["ledger"], facts["audit"], facts["code"]
    yield _pairs(
        [
            ("Ledger", f"{count_text(ledger['entries'])} entries, chain {ledger['chain']}"),
            ("Head of the ledger", ledger["head"]),
            ("Hash of the ledger file (SHA-256)", ledger["sha256"]),
            ("Signed head of the ledger", ledger["seal"]),
            ("Rounds whose ledger head is in it", count_text(facts["rounds_checked"])),
            ("Client ledgers held against it", count_text(facts["client_ledgers"])),
            ("Key of the signatures", facts["key"]),
            ("Audit of the program", audit_words(audit, mode=mode)),
            ("Source (commit)", code["commit"] or "not a checkout"),
            ("Lock file (SHA-256)", code["lock_file_sha256"] or "not found beside the program"),
        ]
    )
    rows = [
        (release["folder"], release["signature"], epsilon_text(release["stated_epsilon"]), release["ledger_head"])
        for release in facts["releases"]
    ]
    if rows:
        yield Table("Releases", ("Release", "Signature", "Epsilon it states", "Ledger head"), rows, wide=True)
    yield from audit_tables(audit)
    made, ran = facts["versions"]["report"], facts["versions"]["run"]
    names = sorted({*made, *ran})
    versions = [(name, ran.get(name, ABSENT), made.get(name, ABSENT)) for name in names]
    yield Table("Versions", ("Package", "In the run, by its result", "In this report"), versions, folded=True)


def _recompute(facts: Facts) -> Iterator[Block]:
    yield Code("With fedrec", facts["fedrec"])
    yield Text(
        f"Without fedrec: save the script below as recompute_epsilon.py and run it. It needs dp-accounting and the "
        f"ledger alone, checks the chain, and prints {facts['prints']}."
    )
    yield Code("With dp-accounting alone", facts["command"])
    yield Code("recompute_epsilon.py", facts["script"], folded=True)


def _utility(facts: Facts) -> Iterator[Block]:
    yield Text(facts["note"])
    rows = [(line["metric"], _interval(line["run"]), _interval(line["twin"])) for line in facts["metrics"]]
    twin = "Non-private twin" if facts["twin_measured"] else "Non-private twin (not measured)"
    yield Table(f"Quality on the {facts['item']} item", ("Metric", "This run", twin), rows)
    if facts["groups"]:
        groups = [(line["group"], count_text(line["people"]), _interval(line["ndcg@10"])) for line in facts["groups"]]
        heading = f"NDCG@10 by group of at least {facts['smallest_group']} people, {facts['groups_item']} item"
        yield Table(heading, ("Group", "People", "NDCG@10"), groups)


def _interval(metric: object) -> str:
    return str(Interval.parse(metric) or ABSENT)


def _pairs(rows: Sequence[tuple[str, str | None]]) -> Pairs:
    return Pairs([(name, value) for name, value in rows if value])


def _optional(value: float | None) -> str | None:
    return None if value is None else _short(value)


def _short(value: float) -> str:
    return f"{value:,.6g}"
