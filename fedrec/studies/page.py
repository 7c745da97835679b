"""The page of a study: its Jinja template."""

TEMPLATE = """\
{% extends "frame" %}
{% from "macros" import facts, data_table, figure %}
{% block verdict %}
<p class="verdict" id="verdict">{{ headline }}</p>
<p>{{ scored }}</p>
{% endblock %}
{% block content %}
<div class="cards">
{% for card in cards %}
<section class="card">
<h2>{{ card.heading }}</h2>
<p class="figure">{{ card.figure }}{% if card.beside %} <small>{{ card.beside }}</small>{% endif %}</p>
{{ facts(card.facts) }}
</section>
{% endfor %}
</div>

<section id="choice">
<h2>What the choice itself costs</h2>
<p>{{ choice }}</p>
</section>

{% if charts %}
<section>
<h2>What utility costs</h2>
<p class="note">A point per run, one shape and colour per seed: {{ legend }}. Upright lines: 95% intervals over people.
Dashed: the best setting's mean over seeds at each cost; nothing was run between its corners. Runs at one cost are laid
side by side.{% for sentence in same %} {{ sentence }}{% endfor %}</p>
<div class="charts">
{% for chart in charts %}
{{ figure(chart) }}
{% endfor %}
</div>
</section>
{% endif %}

<section>
<h2>Every setting, best first</h2>
<div class="scroll" role="region" aria-label="Every setting" tabindex="0">
<table>
<thead><tr><th scope="col">Settings</th>
{% for column in columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr{% if row.own %} class="own"{% endif %}><th scope="row">{{ row.name }}</th>
<td><span class="value">{{ row.mean }}</span> <small>{{ row.bounds }}</small></td>
<td>{{ row.epsilon }}{% if row.tag %}<span class="tag">{{ row.tag }}</span>{% endif %}</td>
{% for cell in row.cells %}
<td>{{ cell }}</td>
{% endfor %}
<td>{{ row.by_seed }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="note">In brackets: from the lowest to the highest end of any seed's 95% interval, resampled over people.
Shaded: the best. Every item of the catalogue is ranked, a person's training history masked.</p>
</section>

{% if failures %}
<section>
<h2>Runs that failed</h2>
{{ data_table("Runs that failed", ["Run", "Settings", "Seed", "Why"], failures) }}
</section>
{% endif %}

<section>
<h2>Run it again</h2>
{% if command %}<pre tabindex="0"><code>{{ command }}</code></pre>{% endif %}
<p class="note">The same command goes on with what is left to run. Every run has its own report in <code>runs/</code>,
and the table of all of them is <code>results.parquet</code>.</p>
</section>
{% endblock %}
{% block numbers %}.{% endblock %}
"""
