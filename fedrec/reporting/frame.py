"""What every report's page shares: its style, its head and its warnings. A page loads nothing and runs no script."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf6; --raised: #ffffff; --ink: #20262b; --soft: #5c666d; --line: #dfdcd2;
  --accent: #14615a; --alarm: #9b2318; --alarm-paper: #fdf0ec; --mark: #eef4f1;
  --series-1: #14615a; --series-2: #b0530f; --series-3: #3c62a8; --series-4: #8a4a86; --series-5: #746410;
  --series-6: #a83a4c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181b; --raised: #1b2024; --ink: #e6e4dd; --soft: #a3abaf; --line: #343b40;
    --accent: #7cc4b8; --alarm: #ffa595; --alarm-paper: #351a16; --mark: #1f2b2a;
    --series-1: #6cc7b8; --series-2: #f0a060; --series-3: #92b4f2; --series-4: #d9a0d4; --series-5: #d4c46a;
    --series-6: #f092a0;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word;
}
main { max-width: 66rem; margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 2.5rem) 4rem; }
h1, h2, h3, h4 { line-height: 1.25; font-weight: 650; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: 1.05rem; margin: 0; color: var(--soft); font-weight: 600; }
h2 { font-size: 1.3rem; margin: 3.25rem 0 .5rem; }
h3, h4 { font-size: 1.02rem; margin: 1.6rem 0 .35rem; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption, .note { color: var(--soft); }
.note { font-size: .9rem; }
.verdict {
  font-size: clamp(1.3rem, 1rem + 1.4vw, 1.8rem); line-height: 1.3; font-weight: 620; letter-spacing: -.01em;
  margin: .75rem 0 .6rem; max-width: 58rem; text-wrap: pretty; overflow-wrap: anywhere;
}
.alarms { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
.alarms { margin: 1.1rem 0; }
.alarm {
  padding: .7rem 1.1rem .8rem; border: 2px solid var(--alarm); border-radius: .5rem;
  background: var(--alarm-paper); color: var(--ink);
}
.alarm strong {
  display: block; font-size: clamp(1.4rem, 1rem + 1.8vw, 1.85rem); line-height: 1.2; font-weight: 800;
  letter-spacing: .01em; color: var(--alarm);
}
.alarm p { margin: .2rem 0 0; max-width: 56rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17.5rem), 1fr)); gap: 1rem; }
.cards { margin: 1.4rem 0 0; }
.card { background: var(--raised); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.15rem; }
.card.wide { grid-column: 1 / -1; }
.card h2 { margin: 0; font-size: .95rem; color: var(--soft); font-weight: 600; }
.figure { font-size: 2.35rem; line-height: 1.15; font-weight: 650; margin: .15rem 0 0; letter-spacing: -.02em; }
.figure small { font-size: .95rem; font-weight: 450; letter-spacing: 0; color: var(--soft); }
.figure { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .6rem; }
.figure, table, dl { font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: fit-content(56%) 1fr; gap: .22rem .9rem; margin: .7rem 0 0; }
dl { font-size: .93rem; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .8rem 0; border: 1px solid var(--line); border-radius: .5rem; }
.scroll:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .94rem; background: var(--raised); }
th, td { padding: .5rem .85rem; text-align: right; border-top: 1px solid var(--line); vertical-align: baseline; }
th:first-child, td:first-child, .words { text-align: left; }
td { white-space: nowrap; }
.words, tbody th { white-space: normal; overflow-wrap: anywhere; }
tbody th { min-width: 9rem; font-weight: 450; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; white-space: nowrap; }
tr.own { background: var(--mark); }
tr.own th, tr.own .value { font-weight: 680; }
td small { color: var(--soft); margin-left: .3rem; }
.tag {
  display: inline-block; font-size: .78rem; font-weight: 700; letter-spacing: .02em; color: var(--alarm);
  border: 1.5px solid currentColor; border-radius: .3rem; padding: 0 .4rem; margin-left: .4rem; white-space: nowrap;
}
td .tag:first-child { margin-left: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.6rem 1.5rem; }
figure { margin: .6rem 0 0; min-width: 0; }
figcaption { font-weight: 600; font-size: .95rem; }
figure svg { display: block; max-width: 100%; height: auto; margin: .4rem 0; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--accent); font-size: .93rem; border-radius: .2rem; width: fit-content; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 23rem), 1fr)); gap: 0 2.5rem; }
.two ul { margin: .3rem 0; padding-left: 1.15rem; }
.two li { margin: .35rem 0; }
li::marker { color: var(--soft); }
pre {
  overflow-x: auto; padding: .85rem 1rem; margin: .6rem 0; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--raised);
}
pre, code { font: .86rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { overflow-wrap: anywhere; }
footer { margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
@media print {
  :root {
    color-scheme: light;
    --paper: #fff; --raised: #fff; --ink: #000; --soft: #444; --line: #bbb; --accent: #14615a;
    --alarm: #9b2318; --alarm-paper: #fff; --mark: #f1f1f1;
    --series-1: #14615a; --series-2: #b0530f; --series-3: #3c62a8; --series-4: #8a4a86; --series-5: #746410;
    --series-6: #a83a4c;
  }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .card, figure, tr, .alarm { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .scroll, pre { overflow: visible; }
  pre { white-space: pre-wrap; }
  td, thead th { white-space: normal; padding: .3rem .5rem; }
  td small { display: inline-block; white-space: nowrap; }
  details::details-content { content-visibility: visible; display: block; }
}
"""

_MACROS = """\
{% macro facts(rows) %}
<dl>{% for name, value in rows %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
{% endmacro %}
{% macro data_table(label, columns, rows) %}
<div class="scroll" role="region" aria-label="{{ label }}" tabindex="0">
<table>
<thead><tr>{% for column in columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endmacro %}
{% macro figure(chart) %}
<figure>
<figcaption>{{ chart.title }}</figcaption>
{{ chart.svg | safe }}
<details><summary>The figures of this chart</summary>
{{ data_table(chart.title, chart.columns, chart.rows) }}
</details>
</figure>
{% endmacro %}
"""

_FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="fedrec">
<title>{{ title }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<main>
<header>
<h1>{{ title }}</h1>
{% block verdict %}{% endblock %}
</header>

{% if alarms %}
<div class="alarms">
{% for alarm in alarms %}
<section class="alarm" role="note" aria-label="{{ alarm.heading }}">
<strong>{{ alarm.heading }}</strong>
<p>{{ alarm.text }}</p>
</section>
{% endfor %}
</div>
{% endif %}

{% block content %}{% endblock %}
<footer class="note">
Made by fedrec. This file loads nothing and runs no script{% block numbers %}{% endblock %}
</footer>
</main>
{% block data %}{% endblock %}
</body>
</html>
"""


def render(template: str, *, title: str, style: str, alarms: Sequence[Mapping[str, str]], **values: Any) -> str:
    """A page from a template that extends `frame` and may import from `macros`.

    alarms: each with a `heading` and a `text`. values: what else the template names.
    """
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"frame": _FRAME, "macros": _MACROS, "page": template}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page").render(title=title, style=style, alarms=alarms, **values)
