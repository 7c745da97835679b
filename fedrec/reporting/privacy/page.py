"""The budget report's page: one HTML file that loads nothing and runs no script, to read and to print."""

from collections.abc import Mapping
from typing import Any

from fedrec.reporting.figures import delta_text, epsilon_text, rounded_down
from fedrec.reporting.frame import STYLE, render
from fedrec.reporting.privacy.sections import sections

_STYLE = (
    STYLE
    + """
nav ol { margin: .4rem 0 0; padding-left: 1.3rem; columns: 17rem 3; column-gap: 2rem; font-size: .93rem; }
nav li { break-inside: avoid; padding: .15rem 0; }
a { color: var(--accent); }
header { margin-bottom: 1.2rem; }
.plain { list-style: none; padding: 0; margin: .8rem 0; max-width: 46rem; }
.plain li { margin: .3rem 0; }
.lines { margin: .3rem 0; padding-left: 1.15rem; max-width: 52rem; }
.lines li { margin: .35rem 0; }
main > section > dl { max-width: 60rem; grid-template-columns: minmax(7rem, 15rem) 1fr; row-gap: .35rem; }
.wide td, .wide th { text-align: left; white-space: normal; min-width: 7.5rem; overflow-wrap: anywhere; }
.wide thead th { white-space: nowrap; }
td.alert { color: var(--alarm); font-weight: 700; }
.sign { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: 2.2rem 2rem; }
.sign { margin: 2.2rem 0 0; padding: 0; list-style: none; }
.sign li { border-top: 1px solid var(--ink); padding-top: .25rem; font-size: .9rem; color: var(--soft); }
figure { max-width: 34rem; }
@media (max-width: 40rem) {
  main > section > dl { grid-template-columns: 1fr; }
  main > section > dl dd { margin-bottom: .5rem; }
}
@media print {
  nav { display: none; }
  h2 { margin-top: 1.6rem; }
  main > section > dl { break-inside: auto; }
  dt, dd, li { break-inside: avoid; }
  pre code { font-size: 7pt; }
  tbody th { padding: .3rem .5rem; }
  .wide td, .wide th { font-size: 8.5pt; min-width: 5.2rem; }
  .cards { grid-template-columns: repeat(3, 1fr); }
  .signature { break-inside: avoid; }
}
"""
)

_TEMPLATE = """\
{% extends "frame" %}
{% from "macros" import facts, data_table, figure %}
{% macro words_table(label, columns, rows) %}
<div class="scroll wide" role="region" aria-label="{{ label }}" tabindex="0">
<table>
<thead><tr>{% for column in columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row[0] }}</th>
{% for cell in row[1:] %}
<td{% if cell in alerts %} class="alert"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endmacro %}
{% macro table(block) %}
{% if block.wide %}
{{ words_table(block.heading, block.columns, block.rows) }}
{% else %}
{{ data_table(block.heading, block.columns, block.rows) }}
{% endif %}
{% endmacro %}
{% macro show(block) %}
{% if block.kind == "text" %}
<p>{{ block.text }}</p>
{% elif block.kind == "pairs" %}
{{ facts(block.rows) }}
{% elif block.kind == "bullets" %}
{% if block.heading %}
<h3>{{ block.heading }}</h3>
{% endif %}
<ul class="lines">{% for line in block.lines %}<li>{{ line }}</li>{% endfor %}</ul>
{% elif block.kind == "table" and block.folded %}
<details><summary>{{ block.heading }}</summary>
{{ table(block) }}
</details>
{% elif block.kind == "table" %}
<h3>{{ block.heading }}</h3>
{{ table(block) }}
{% elif block.kind == "code" and block.folded %}
<details><summary>{{ block.heading }}</summary><pre tabindex="0"><code>{{ block.text }}</code></pre></details>
{% elif block.kind == "code" %}
<h3>{{ block.heading }}</h3>
<pre tabindex="0"><code>{{ block.text }}</code></pre>
{% else %}
{{ figure(block.chart) }}
{% endif %}
{% endmacro %}
{% block verdict %}
<p class="verdict" id="verdict">{{ verdict.text }}</p>
{% if verdict.meaning %}
<p>{{ verdict.meaning }}</p>
{% endif %}
{% endblock %}
{% block content %}
{% if cards %}
<div class="cards">
{% for card in cards %}
<section class="card">
<h2>{{ card.heading }}</h2>
<p class="figure">{{ card.figure }} <small>{{ card.beside }}</small></p>
{{ facts(card.facts) }}
</section>
{% endfor %}
</div>
{% endif %}

{% if verdict.not_met or verdict.assumed %}
<ul class="plain">
{% if verdict.not_met %}
<li><strong>Not met:</strong> {{ verdict.not_met | join("; ") }}.</li>
{% endif %}
{% if verdict.assumed %}
<li><strong>Assumed, as no record can show it:</strong> {{ verdict.assumed | join("; ") }}.</li>
{% endif %}
</ul>
{% endif %}

<nav aria-label="Sections">
<ol>{% for section in sections %}<li><a href="#{{ section.key }}">{{ section.title }}</a></li>{% endfor %}</ol>
</nav>

{% for section in sections %}
<section id="{{ section.key }}" aria-labelledby="{{ section.key }}-title">
<h2 id="{{ section.key }}-title">{{ section.title }}</h2>
{% for block in section.blocks %}
{{ show(block) }}
{% endfor %}
</section>
{% endfor %}

<section class="signature" aria-labelledby="signature-title">
<h2 id="signature-title">Signature</h2>
<p>I have read this report, I answer for what it states as assumed, and I accept its limits.</p>
<ul class="sign"><li>Name and office</li><li>Place and date</li><li>Signature</li></ul>
</section>

{% endblock %}
{% block numbers %}
. Its numbers are those of the JSON form,
whose SHA-256 is <code>{{ digest }}</code>.
{%- endblock %}
"""
_ALERTS = ("not met", "NO: seeded", "MISSED", "FAILED")


def privacy_html(report: Mapping[str, Any], *, digest: str) -> str:
    """The page of a report; digest: SHA-256 of its JSON form."""
    return render(
        _TEMPLATE,
        title=f"Privacy budget report: {report['identity']['scenario']}",
        style=_STYLE,
        alarms=report["verdict"]["alarms"],
        verdict=report["verdict"],
        cards=_cards(report),
        sections=sections(report),
        alerts=_ALERTS,
        digest=digest,
    )


def _cards(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The three figures that a reader looks for first; none without noise."""
    if report["epsilon"] is None:
        return []
    epsilon, spent, left = report["epsilon"], report["composition"]["spent"], report["composition"]["remaining"]
    unit, budget = report["unit"]["name"], report["composition"]["budget"]
    sampling = report["sampling"]
    return [
        {
            "heading": _SPENT[report["verdict"]["state"]],
            "figure": epsilon_text(spent["epsilon"]),
            "beside": f"per {unit}",
            "facts": [("Delta", delta_text(epsilon["delta"])), ("Replace-one", epsilon_text(spent["replace_one"]))],
        },
        {
            "heading": "OVER the budget" if budget["over_by"] else "Left of the budget",
            "figure": epsilon_text(budget["over_by"])
            if budget["over_by"]
            else f"{rounded_down(left['epsilon'], 2):.2f}",
            "beside": f"of {epsilon_text(budget['epsilon'])}",
            "facts": [("Participations left", str(left["participations"]))],
        },
        {
            "heading": "Most participations of a client",
            "figure": str(sampling["most_participations"]),
            "beside": f"of at most {sampling['participation_cap']}",
            "facts": [("Rounds", str(sampling["rounds"])), ("Trusted", _TRUSTED[report["composition"]["mode"]])],
        },
    ]


_SPENT = {
    "private": "Epsilon spent",
    "over budget": "Epsilon spent, over its budget",
    "not a guarantee": "Epsilon of the plan, not a guarantee",
}
_TRUSTED = {
    "local": "nobody but the client",
    "central": "the server",
    "distributed": "enough honest clients, and enrolment",
}
