"""The command line's contract: one line on stderr, exit 2 or 1, one JSON document on stdout."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from time import perf_counter
from typing import get_args

import pytest
from IPython.core.interactiveshell import InteractiveShell
from made_up import fill, noisy

from sgdnoise import cli, reproduce
from sgdnoise.book import scorecard
from sgdnoise.claims import Word
from sgdnoise.errors import FailureError, InputError
from sgdnoise.experiments import EXPERIMENTS, findings, studies
from sgdnoise.papers.numbers import waiting
from sgdnoise.records.record import Record
from sgdnoise.theory.nqm.target import Guarantee


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
    "reproduce constant-epochs --scale digits": "did you mean constant-epoch?",
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
    "reproduce constant-epoch --scale digits --no-rendering": "`sgdnoise reproduce --help`",
    "claims --paper G20 --claim S20-T1.largest-worse": "no claim of G20: leave one of the two out",
    "records bundle a.gz --sclae cpu": "`sgdnoise records bundle --help`",
    "claims --results=": "a folder's name is empty",
    "reproduce constant-epoch --scale digits --dry-run --runs=": "a folder's name is empty",
    "records merge a.gz --results=": "a folder's name is empty",
    "reproduce ALL --scale digits": "sharpness; `sgdnoise reproduce` takes all as well",
    "claims --claim G20-C1.vanishing-steps --scale paper": "at scale paper: it stands at cpu",
    "claims --claim S20-App.two-regimes-elsewhere --scale cpu --json": "no experiment tests it yet",
    "claims --scale huge": "digits, cpu, gpu, paper",
    "claims --scale huge --json": "digits, cpu, gpu, paper",
    "claims --paper S19": "S20",
    "claims --results no-such-folder": "there is no store no-such-folder",
    "claims S20": "S20",
    "claims --claim S20-F1c.linear-scaling": "the nearest are S20-F1c.linear-scaling.sgd, ",
    "claims --claim H17-T1.rate-help --json": "the nearest are H17-T1.rate-helps, ",
    "claims --claim G20": "the nearest are G20-",
    "claims --claim 17": "no claim is called '17': `sgdnoise claims` lists all",
    "build everything": "everything",
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
    out = run(capsys, "nqm", "--batch-size", "1", "--max-steps", "10", "--dims", "50")[1]
    assert "unreachable within max_steps\n" in out


def test_nqm_tells_people_six_digits_and_a_dash_for_nothing(capsys):
    asked = ["nqm", "--batch-size", "3", "--dims", "50", "--momentum", "0.3"]
    out = run(capsys, *asked)[1]
    told = dict(line.split(maxsplit=1) for line in out.splitlines())
    exact = json.loads(run(capsys, *asked, "--json")[1])
    assert told.keys() == exact.keys()
    assert told["steps"] == str(exact["steps"])
    assert told["max_steps"] == "100000000"
    assert told["learning_rate"] == f"{exact['learning_rate']:.6g}" != str(exact["learning_rate"])
    none = run(capsys, "nqm", "--batch-size", "1", "--max-steps", "10", "--dims", "50")[1]
    assert {"steps", "learning_rate", "loss"} <= {
        line.split()[0] for line in none.splitlines() if line.endswith(" –")
    }
    assert "None" not in none


def test_the_help_of_nqm_explains_each_guarantee():
    said = cli.help_pages()["sgdnoise nqm"].partition("Its guarantee")[2]
    assert [word for word in Guarantee if word in said] == list(Guarantee)


@pytest.mark.parametrize(
    ("line", "told"), [("build", False), ("reproduce constant-epoch --scale digits", True)]
)
def test_outside_of_a_checkout_only_what_has_folders_advises_them(
    capsys, tmp_path, monkeypatch, line, told
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *line.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert ("--results" in err) == told
    assert "not inside the book's checkout: change into it" in err


def test_claims_say_on_stderr_which_records_they_judge(capsys, store):
    arguments = ["claims", "--results", str(store), "--claim", "S20-T1.largest-worse"]
    code, out, err = run(capsys, *arguments)
    assert code == 0
    assert err == f"judged on {store}\n"
    assert "judged on" not in out
    assert run(capsys, *arguments, "--json")[2] == ""


@pytest.mark.parametrize("kind", [InputError, FailureError])
def test_a_notebook_shows_of_an_error_its_message_alone(kind):
    shell = InteractiveShell()
    lines = []
    shell._showtraceback = lambda of, value, traceback: lines.extend(traceback)
    shell.user_ns["error"] = kind("no such thing: take another")
    shell.run_cell("raise error")
    assert lines == [f"{kind.__name__}: no such thing: take another"]


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


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """All runs of the three batch regimes at scale cpu, and no other experiment's."""
    folder = tmp_path_factory.mktemp("store")
    fill(folder, EXPERIMENTS["generalization-gap"], "cpu", 5, noisy(lambda config, rate: 70.0))
    return folder


FIELDS = {"id", "paper", "statement", "where", "scale", "verdict", "effect", "interval", "margin"}
FIELDS |= {"seeds", "why", "about", "unit", "printed", "p", "elsewhere", "experiment", "page"}
FIELDS |= {"runs", "code", "band"}


def test_claims_are_one_json_list_and_nothing_else(capsys, store):
    code, out, err = run(capsys, "claims", "--json", "--results", str(store))
    assert (code, err) == (0, "")
    rows = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    want = [
        (study.scale, claim.id)
        for study in studies()
        for claim in findings(study.experiment.name).CLAIMS
    ] + [("", claim) for claim in waiting()]
    assert [(row["scale"], row["id"]) for row in rows] == want != []
    for row in rows:
        assert row.keys() == FIELDS
        assert row["verdict"] in get_args(Word)
        assert row["id"].startswith(f"{row['paper']}-")
        for name in ("statement", "where", "why"):
            assert isinstance(row[name], str)
            assert row[name]
        assert row["interval"] is None or row["interval"][0] <= row["interval"][1]
    # What is recorded is judged, and nothing else.
    judged = [row for row in rows if row["verdict"] not in ("not measured", "not tested here")]
    assert {row["scale"] for row in judged} == {"cpu"}
    assert any(row["seeds"] == 5 and row["effect"] is not None for row in judged)
    assert {row["seeds"] for row in rows if row["verdict"] == "not measured"} == {0}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--scale", "cpu"], lambda row: row["scale"] == "cpu"),
        (["--paper", "H17"], lambda row: row["paper"] == "H17"),
        (["--claim", "H17-T1.rate-helps"], lambda row: row["id"] == "H17-T1.rate-helps"),
        (["--claim", "G20-C1.vanishing-steps"], lambda r: r["id"] == "G20-C1.vanishing-steps"),
        (
            ["--claim", "H17-T1.rate-helps", "--scale", "gpu"],
            lambda r: (r["id"], r["scale"]) == ("H17-T1.rate-helps", "gpu"),
        ),
        (
            ["--paper", "G20", "--scale", "gpu"],
            lambda r: (r["paper"], r["scale"]) == ("G20", "gpu"),
        ),
    ],
)
def test_claims_of_a_scale_or_a_paper_are_part_of_all(capsys, store, options, kept):
    whole = json.loads(run(capsys, "claims", "--json", "--results", str(store))[1])
    some = json.loads(run(capsys, "claims", "--json", "--results", str(store), *options)[1])
    assert some == [row for row in whole if kept(row)] != []
    assert len(some) < len(whole)


def test_claims_are_two_lines_each_for_a_reader(capsys, store):
    arguments = ["claims", "--paper", "H17", "--scale", "cpu", "--results", str(store)]
    rows = json.loads(run(capsys, *arguments, "--json")[1])
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, f"judged on {store}\n")
    first, second = out.splitlines()[::2], out.splitlines()[1::2]
    assert [line.split(": ", 1)[1] for line in first] == [row["statement"] for row in rows]
    assert [line.strip() for line in second] == [row["why"] for row in rows]
    for line, row in zip(first, rows, strict=True):
        assert line.startswith("cpu ")
        assert row["verdict"] in line
        assert row["id"] in line


def test_claims_of_a_folder_without_records_are_refused(capsys, tmp_path):
    code, out, err = run(capsys, "claims", "--json", "--results", str(tmp_path))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "holds no records" in err


def broken(line):
    return line.replace("test_accuracy", "test_acuracy")


def on_a_gpu(line):
    record = Record.parse(line)
    elsewhere = {**record.provenance, "device": "NVIDIA H100"}
    return dataclasses.replace(record, provenance=elsewhere).line()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (broken, "is not sound: `sgdnoise reproduce generalization-gap --scale cpu --results /"),
        (on_a_gpu, "its records mix devices, CPU and GPU: train them on one."),
    ],
)
def test_records_that_are_unsound_or_of_two_devices_never_give_a_verdict(
    capsys, store, tmp_path, change, says
):
    path = tmp_path / "cpu" / "generalization-gap.jsonl"
    path.parent.mkdir()
    first, *others = (store / "cpu" / path.name).read_text().splitlines()
    path.write_text("\n".join([change(first), *others]) + "\n")
    code, out, err = run(capsys, "claims", "--json", "--results", str(tmp_path))
    assert code == 0
    refused = f"refused: {path}:1 was altered: its sha256 does not fit; its run counts as missing\n"
    assert err == (refused if change is broken else "")
    rows = [row for row in json.loads(out) if row["experiment"] == "generalization-gap"]
    here = [row for row in rows if row["scale"] == "cpu"]
    assert here
    for row in here:
        assert row["verdict"] == "not measured"
        assert row["effect"] is row["interval"] is None
        assert says in row["why"]


def test_a_claim_that_waits_says_for_what(capsys, store, monkeypatch):
    arguments = ["claims", "--results", str(store), "--claim", "S20-App.two-regimes-elsewhere"]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    head, why = out.splitlines()
    assert head.startswith("-       not measured     S20-App.two-regimes-elsewhere: ")
    assert why.strip() == "no experiment tests it yet: it waits for other-architectures."
    (row,) = json.loads(run(capsys, *arguments, "--json")[1])
    assert (row["scale"], row["experiment"], row["page"], row["code"]) == (
        *("", "other-architectures", None, ""),
    )
    # An experiment that stands, and does not test it yet.
    there = {**scorecard.EXPERIMENTS, "other-architectures": None}
    monkeypatch.setattr(scorecard, "EXPERIMENTS", there)
    assert "it waits for more sweeps of other-architectures." in run(capsys, *arguments)[1]


PROGRAM = "import sys; from sgdnoise import cli; sys.exit(cli.main())"


def piped(command, **environment):
    """Exit code, stdout and stderr of `sgdnoise` in a shell's command."""
    done = subprocess.run(
        ["bash", "-c", command.replace("sgdnoise", '"$PYTHON" -c "$PROGRAM"', 1)],
        env={**os.environ, "PYTHON": sys.executable, "PROGRAM": PROGRAM, **environment},
        capture_output=True,
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is full")
@pytest.mark.parametrize(
    "command", ["nqm --batch-size 64 --json", "reproduce constant-epoch --scale gpu --dry-run"]
)
def test_a_full_disk_is_one_line_and_exit_1(command):
    code, _, err = piped(f"sgdnoise {command} >/dev/full")
    said = "sgdnoise: cannot write (No space left on device): make room, run again\n"
    assert (code, err) == (1, said)


def test_a_reader_that_has_seen_enough_is_left_in_peace(store):
    command = f"sgdnoise claims --json --results {store} | head -1; exit ${{PIPESTATUS[0]}}"
    assert piped(command) == (1, "[\n", "")


def test_an_error_of_the_system_that_is_not_of_the_output_is_not_hidden(monkeypatch):
    def broken(arguments):
        raise OSError("a bug")

    monkeypatch.setattr(cli, "_run", broken)
    with pytest.raises(OSError, match="a bug"):
        cli.main([])


def test_letters_that_the_terminal_lacks_are_written_as_numbers():
    # A momentum that is not given is a dash: no letter of ASCII.
    command = "sgdnoise nqm --batch-size 64 --max-steps 1"
    code, out, err = piped(command, PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    assert "\\u2013" in out


def test_claims_in_a_folder_that_was_deleted_are_those_of_the_store_that_is_named(store, tmp_path):
    ask = f"sgdnoise claims --results {store} --claim H17-T1.rate-helps --scale cpu"
    command = f"cd {tmp_path}; rmdir {tmp_path}; {ask}"
    code, out, err = piped(command)
    assert (code, err) == (0, f"judged on {store}\n")
    assert "H17-T1.rate-helps" in out


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
    assert lines[0] == f"there was no store {tmp_path / 'r'}: it begins empty"
    assert len(lines) == 156
    assert not tmp_path.joinpath("r").exists()
    assert perf_counter() - begin < 30


def test_the_version_and_the_help(capsys):
    for arguments in (["--help"], ["--version"], ["reproduce", "--help"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 0
    assert "reproduce" in capsys.readouterr().out
