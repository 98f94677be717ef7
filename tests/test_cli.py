"""The command line's contract: one line on stderr, exit 2 or 1, one JSON document on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from time import perf_counter

import pytest

from sgdnoise import cli, reproduce


def run(capsys, *arguments):
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


BAD = {
    "nqm --batch-size 0": "batch size",
    "nqm --batch-size -4": "batch size",
    "nqm --batch-size many": "not a number",
    "nqm --batch-size nan": "batch size",
    "nqm --batch-size inf": "batch size",
    "nqm --batch-size 2.5": "batch size",
    "nqm --batch-size 64 --target-loss 0": "target loss",
    "nqm --batch-size 64 --target-loss -1": "target loss",
    "nqm --batch-size 64 --target-loss nan": "target loss",
    "nqm --batch-size 64 --target-loss inf": "target loss",
    "nqm --batch-size 64 --momentum 1": "momentum",
    "nqm --batch-size 64 --momentum -0.1": "momentum",
    "nqm --batch-size 64 --momentum nan": "momentum",
    "nqm --batch-size 64 --dims 0": "dim",
    "nqm --batch-size 64 --dims 1.5": "whole number",
    "nqm --batch-size 64 --max-steps 0": "max",
    "nqm --batch-size 64 --spectrum fine": "binned",
    f"nqm --batch-size {10**400}": "at most 9,007,199,254,740,992",
    "nqm --batch-size 1e308": "at most 9,007,199,254,740,992",
    "nqm --batch-size 64 --dims 1e12": "from 1 to 50,000",
    f"nqm --batch-size 64 --dims {10**400}": "from 1 to 50,000",
    "nqm --batch-size 64 --dims 1e12 --spectrum binned": "from 1 to 10,000,000",
    "nqm --batch-size 64 --max-steps 1e30": "from 1 to 9,007,199,254,740,992",
    "nqm": "--batch-size",
    "reproduce constant-epochs --scale digits": "constant-epoch",
    "reproduce constant-epoch --scale huge": "digits, cpu, gpu, paper",
    "reproduce all --scale huge": "digits, cpu, gpu, paper",
    "reproduce constant-epoch": "--scale",
    "reproduce constant-epoch --scale digits --seeds 0": "seeds",
    "reproduce constant-epoch --scale digits --seeds -3": "seeds",
    "reproduce constant-epoch --scale digits --seeds few": "whole number",
    "reproduce constant-epoch --scale digits --seeds 2.5": "whole number from 1 to 999",
    "reproduce constant-epoch --scale digits --seeds 1000": "whole number from 1 to 999",
    "reproduce constant-epoch --scale digits --jobs 0": "jobs",
    "reproduce constant-epoch --scale digits --minutes soon": "not a number",
    "reproduce constant-epoch --scale digits --minutes 0": "at most 525600",
    "reproduce constant-epoch --scale digits --minutes -1": "at most 525600",
    "data verify nothing": "cifar10",
    "data mend cifar10": "fetch",
    "frobnicate": "reproduce",
    "": "COMMAND",
}


@pytest.mark.parametrize(("line", "says"), BAD.items())
def test_bad_input_is_one_line_and_exit_2(capsys, line, says):
    code, out, err = run(capsys, *line.split())
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert says in err
    assert err.startswith("sgdnoise: ")


@pytest.mark.parametrize(
    "value", ["0", "-1", "nan", "inf", "-inf", "1e400", "1" + "0" * 400, "1" + "0" * 5000]
)
@pytest.mark.parametrize(
    ("option", "bounds"),
    [
        ("--seeds", "seeds must be a whole number from 1 to 999 "),
        ("--jobs", f"jobs must be a whole number from 1 to {4 * os.cpu_count()} "),
        ("--minutes", "minutes must be more than 0 and at most 525600 "),
    ],
)
def test_absurd_numbers_are_told_their_bounds(capsys, tmp_path, monkeypatch, option, bounds, value):
    monkeypatch.setattr(reproduce, "run_sweep", lambda *_, **__: pytest.fail("trained"))
    code, out, err = run(capsys, "reproduce", "all", "--scale", "digits", f"{option}={value}")
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert bounds in err
    assert len(err) < 250


def test_a_results_folder_that_cannot_be_written_is_exit_1_and_leaves_nothing(
    capsys, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    for option in ("--results", "--runs"):
        others = {"--results": tmp_path / "r", "--runs": tmp_path / "p"}
        others[option] = tmp_path / "file" / "in"
        monkeypatch.setattr(reproduce, "run_sweep", lambda *_, **__: pytest.fail("trained"))
        extra = [str(x) for pair in others.items() for x in pair]
        code, _, err = run(capsys, "reproduce", "constant-epoch", "--scale", "digits", *extra)
        assert code == 1
        assert err.count("\n") == 1
        assert option in err
        assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_nqm_answers_in_one_json_document(capsys):
    code, out, err = run(capsys, "nqm", "--batch-size", "64", "--json")
    assert code == 0
    assert err == ""
    answer = json.loads(out)
    wanted = {"steps", "learning_rate", "effective_learning_rate", "loss", "spectrum", "status"}
    assert wanted <= answer.keys()
    assert answer["status"] == "reached"
    assert answer["spectrum"] == "exact"
    assert answer["loss"] <= 0.01
    assert isinstance(answer["steps"], int)


def test_nqm_that_is_not_reached_says_so(capsys):
    code, out, _ = run(
        capsys, "nqm", "--batch-size", "1", "--max-steps", "10", "--dims", "50", "--json"
    )
    assert code == 0
    answer = json.loads(out)
    assert answer["status"] == "unreachable"
    assert answer["steps"] is None


def test_nqm_answers_within_two_seconds_of_its_import():
    program = (
        "from time import perf_counter; from sgdnoise import cli; import sgdnoise.theory.nqm;"
        "start = perf_counter(); code = cli.main(['nqm', '--batch-size', '64', '--json']);"
        "import sys; print(perf_counter() - start, file=sys.stderr); sys.exit(code)"
    )
    times = []
    for _ in range(3):  # the best of three: the machine may be busy with other tests
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == 0
        times.append(float(done.stderr))
        if times[-1] < 2:
            break
    assert min(times) < 2


def test_a_dry_run_lists_and_trains_nothing(capsys, tmp_path):
    begin = perf_counter()
    where = ["--results", str(tmp_path / "r"), "--runs", str(tmp_path / "p")]
    code, out, _ = run(
        capsys,
        "reproduce",
        "constant-epoch",
        "--scale",
        "digits",
        "--seeds",
        "1",
        "--dry-run",
        *where,
    )
    assert code == 0
    lines = out.splitlines()
    # 11 batch sizes, 2 methods, 7 learning rates, 1 seed; the fresh ones follow the optimum.
    assert lines[-1].startswith("constant-epoch, digits: 154 runs missing")
    assert len(lines) == 155
    assert not tmp_path.joinpath("r").exists()
    assert perf_counter() - begin < 30


def test_the_version_and_the_help(capsys):
    for arguments in (["--help"], ["--version"], ["reproduce", "--help"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 0
    assert "reproduce" in capsys.readouterr().out
