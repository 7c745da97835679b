"""Where the time of a run goes, where somebody asked."""

import json

import pytest

from fedrec.training.stages import measured, stage


def test_stages_are_measured_one_within_another(tmp_path):
    with measured() as stages:
        with stage("round"):
            for _ in range(2):
                with stage("ask"):
                    pass
        with pytest.raises(ValueError, match="no"), stage("pay"):
            raise ValueError("no")
    assert {name: times for name, (times, _) in stages.totals().items()} == {"round": 1, "ask": 2, "pay": 1}
    stages.write(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [event["name"] for event in events] == ["round", "ask", "ask", "pay"]
    outer, inner = events[:2]
    assert outer["ts"] <= inner["ts"]
    assert inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]


def test_nothing_is_measured_where_nobody_asked():
    with measured() as stages:
        pass
    with stage("round"):
        pass
    assert stages.spans == []
