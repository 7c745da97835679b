"""The budget report as Markdown: the same facts as its page, for a repository or a ticket."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedrec.reporting.document import Block, Bullets, Code, Figure, Pairs, Table, Text
from fedrec.reporting.privacy.sections import sections


def privacy_markdown(report: Mapping[str, Any], *, digest: str) -> str:
    """The Markdown of a report; digest: SHA-256 of its JSON form."""
    verdict = report["verdict"]
    lines = [f"# Privacy budget report: {plain(report['identity']['scenario'])}", ""]
    for alarm in verdict["alarms"]:
        lines += [f"> **{plain(alarm['heading'])}**: {plain(alarm['text'])}", ""]
    lines += [f"**{plain(verdict['text'])}**", ""]
    if verdict["meaning"]:
        lines += [plain(verdict["meaning"]), ""]
    for name, key in (("Not met", "not_met"), ("Assumed, as no record can show it", "assumed")):
        if verdict[key]:
            lines += [f"{name}: {plain('; '.join(verdict[key]))}.", ""]
    for section in sections(report):
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            lines += [*_block(block), ""]
    lines += ["## Signature", "", "Name and office:", "", "Place and date:", "", "Signature:", ""]
    return "\n".join([*lines, f"Made by fedrec. SHA-256 of the JSON form: `{digest}`.", ""])


def plain(text: str) -> str:
    """The text as Markdown shows it unchanged, in one line.

    >>> plain("a|b <i>\\n*c*")
    'a\\\\|b &lt;i> \\\\*c\\\\*'
    """
    flat = " ".join(str(text).split())
    for sign in "\\`*_[]|":
        flat = flat.replace(sign, f"\\{sign}")
    return flat.replace("<", "&lt;")


def _block(block: Block) -> Iterator[str]:
    match block:
        case Text(text=text):
            yield plain(text)
        case Pairs(rows=rows):
            yield from _rows(("", ""), rows)
        case Bullets(heading=heading, lines=lines):
            yield from _headed(heading, [f"- {plain(line)}" for line in lines])
        case Table(heading=heading, columns=columns, rows=rows):
            yield from _headed(heading, list(_rows(columns, rows)))
        case Code(heading=heading, text=text):
            yield from _headed(heading, ["```", text.rstrip("\n"), "```"])
        case Figure(chart=chart):
            yield from _headed(chart.title, [plain(chart.description), "", *_rows(chart.columns, chart.rows)])


def _headed(heading: str, lines: Sequence[str]) -> list[str]:
    return [*([f"### {plain(heading)}", ""] if heading else []), *lines]


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (columns, ["---"] * len(columns), *rows):
        cells = row if row and row[0] == "---" else [plain(cell) for cell in row]
        yield f"| {' | '.join(cells)} |"
