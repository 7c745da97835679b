"""`fedrec privacy audit`: what it refuses, what it prints, what it writes."""

import json

import pytest

from fedrec.cli.main import main


@pytest.fixture
def fedrec(monkeypatch, capsys):
    """Run the command line in this process; its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["fedrec", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        return done.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fault", "half_nose"], "error: There is no fault `half_nose`. Did you mean `half_noise`?"),
        (["--seed", "-1"], "error: The seed is -1. Choose 0 or more."),
        (["--mode", "none"], "error: There is no noise to audit in mode `none`. Choose central, distributed or local."),
        (["--seed", "two"], "error: Invalid value for '--seed'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(fedrec, arguments, says):
    code, out, err = fedrec("privacy", "audit", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(says)
    assert err.count("\n") == 1


def test_a_folder_is_no_place_for_the_record(fedrec, tmp_path):
    code, _, err = fedrec("privacy", "audit", "--out", tmp_path)
    assert code == 2
    assert "audit.json" in err


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["central", "local"])
def test_the_path_passes_and_every_fault_is_caught(fedrec, tmp_path, mode):
    code, out, err = fedrec("privacy", "audit", "--mode", mode, "--json", "--out", tmp_path / "audit.json")
    record = json.loads(out)
    assert code == 0, record["statement"]
    assert record["passed"] is True
    assert record["lower_bound"] <= record["reported_epsilon"]
    assert len(record["controls"]) == 8
    assert all(control["caught"] for control in record["controls"].values())
    assert json.loads((tmp_path / "audit.json").read_text()) == record
    assert "path ..." in err


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["half_noise", "coupled_loss"])
def test_a_fault_in_the_path_is_told_and_exits_with_1(fedrec, fault):
    code, out, _ = fedrec("privacy", "audit", "--fault", fault)
    assert code == 1
    assert f"The fault `{fault}` was put into the path" in out
    assert "was noticed" in out
