"""The run report's page: its Jinja template."""

TEMPLATE = """\
{% extends "frame" %}
{% from "macros" import facts, data_table, figure %}
{% macro comparison(table) %}
<div class="scroll" role="region" aria-label="{{ table.heading }}" tabindex="0">
<table>
<thead><tr><th scope="col">Method</th>{% for column in table.columns %}<th scope="col">{{ column }}</th>{% endfor %}
<th scope="col" class="words">Epsilon</th></tr></thead>
<tbody>
{% for row in table.rows %}
<tr{% if row.own %} class="own"{% endif %}><th scope="row">{{ row.name }}</th>
{% for cell in row.cells %}
<td>{% if cell %}<span class="value">{{ cell.value }}</span>{% if cell.bounds %} <small>{{ cell.bounds }}</small>
{% endif %}{% else %}–{% endif %}</td>
{% endfor %}
<td class="words">{{ row.epsilon }}{% if row.tag %}<span class="tag">{{ row.tag }}</span>{% endif %}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endmacro %}
{% block verdict %}
<p class="verdict" id="verdict">{{ headline }}</p>
<p>{% if certainty %}{{ certainty }} {% endif %}{{ done }} {{ trust }}</p>
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
{% if terms %}
<section class="card wide">
<h2>What the epsilon assumes</h2>
{{ facts(terms) }}
</section>
{% endif %}
</div>

<section>
<h2>Methods side by side</h2>
<h3>{{ tables[0].heading if tables else "Nothing was measured" }}</h3>
{% for table in tables[:1] %}
{{ comparison(table) }}
{% endfor %}
{% for table in tables[1:] %}
<details><summary>{{ table.heading }}</summary>
{{ comparison(table) }}
</details>
{% endfor %}
<p class="note">Every item of the catalogue is ranked, a person's training history masked. In brackets: 95% interval,
resampled over people. Shaded: the runs of this report. Baselines and the non-private twin are computed by the simulator
from raw data and have no epsilon.{% if positives %} Counted as positive: {{ positives }}.{% endif %}</p>
</section>

{% if charts %}
<section>
<h2>How it went</h2>
<div class="charts">
{% for chart in charts %}
{{ figure(chart) }}
{% endfor %}
</div>
</section>
{% endif %}

{% if groups %}
<section>
<h2>For whom it works</h2>
{{ data_table("NDCG@10 by group", groups.columns, groups.rows) }}
<p class="note">NDCG@10 of each run within groups of people or of items.</p>
</section>
{% endif %}

<section>
<h2>What is covered, and what is not</h2>
{% for run in runs %}
<h3>{{ run.name }}{% if run.tag %}<span class="tag">{{ run.tag }}</span>{% endif %}</h3>
<p>{{ run.trust }}</p>
{{ facts(run.privacy) }}
{% if run.same_as %}
<p>Covered and not covered: the same as for {{ run.same_as }}.</p>
{% else %}
<div class="two">
{% if run.covers %}
<div><h4>Covered</h4><ul>{% for line in run.covers %}<li>{{ line }}</li>{% endfor %}</ul></div>
{% endif %}
<div><h4>Not covered</h4><ul>{% for line in run.does_not_cover %}<li>{{ line }}</li>{% endfor %}</ul></div>
</div>
{% endif %}
{% endfor %}
{% if scale %}
<p class="note">The word beside an epsilon follows {{ scale }}.</p>
{% endif %}
</section>

<section>
<h2>Run it again</h2>
{% for run in runs %}
<h3>{{ run.name }}</h3>
{% if run.command %}<pre tabindex="0"><code>{{ run.command }}</code></pre>{% endif %}
{{ facts(run.evidence) }}
{% if run.rounds %}
<details><summary>Every round</summary>
{{ data_table("Rounds of " ~ run.name, run.round_columns, run.rounds) }}
</details>
{% endif %}
{% if run.config %}
<details><summary>Settings</summary><pre tabindex="0"><code>{{ run.config }}</code></pre></details>
{% endif %}
{% if run.versions %}
<details><summary>Environment</summary>
{{ data_table("Environment of " ~ run.name, ["What", "Version"], run.versions) }}
</details>
{% endif %}
{% endfor %}
</section>

{% endblock %}
{% block numbers %}
; the figures are embedded as JSON in the
element <code>#runs</code>.
{%- endblock %}
{% block data %}
<script type="application/json" id="runs">{{ embedded | safe }}</script>
{% endblock %}
"""
