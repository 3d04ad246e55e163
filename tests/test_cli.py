"""The command line: help for people, JSON for machines, exit codes for both."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nissl._version import __version__
from nissl.cli import app, main
from nissl.cli.printing import markdown
from nissl.recording import as_recording, save

COMMANDS = [
    "atlas",
    "brain connectivity",
    "brain decode",
    "brain encode",
    "brain tuning",
    "check",
    "cite",
    "claims",
    "fetch",
    "info",
    "methods",
    "record",
    "sites",
    "specimens",
    "train-dictionary",
    "view",
]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    registered = [
        f"{part.name or ''} {c.name}".strip()
        for part in app.registered_groups
        for c in part.typer_instance.registered_commands
    ]
    assert sorted(registered) == COMMANDS
    assert all(f" {name.split()[0]} " in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command.split(), "--help") == 0
    text = capsys.readouterr().out
    assert "For example:" in text
    assert f"nissl {command} " in text.split("For example:")[1]
    assert "--json" in text
    # An example a line: Markdown runs lines together, where it is not told that they are code.
    examples = text.split("For example:")[1].split("╭")[0]
    lines = [line.strip() for line in examples.splitlines()]
    assert all(f"{line} ".startswith(f"nissl {command} ") for line in lines if line)
    assert all(line.count("nissl ") == 1 for line in lines if line)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("wrong", [["cit"], ["cite"], ["atlas", "smollm2"], ["cite", "3", "--x"]])
def test_wrong_usage_is_two(wrong: list[str]) -> None:
    assert run(*wrong) == 2


def test_an_error_is_one_with_what_to_do_and_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("cite", "lotery ticket") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: no method or system is called 'lotery ticket'; did you")
    assert "do: nissl methods --all" in captured.err
    assert "Traceback" not in captured.err


def test_debug_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "nissl.cli", "cite", "lotery ticket", "--debug"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_cite_prints_text_bibtex_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cite", "298") == 0
    assert capsys.readouterr().out.startswith("Frankle, Carbin (2018). The Lottery Ticket Hyp")
    assert run("cite", "298", "--bibtex") == 0
    assert capsys.readouterr().out.startswith("@misc{nissl298,")
    assert run("cite", "lottery ticket", "--json") == 0
    assert json.loads(capsys.readouterr().out)["number"] == 298


def test_methods_of_a_room_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods", "circuits", "--all", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["room"] for row in rows} == {"circuits"}
    assert {row["system"] for row in rows} >= {310}


@pytest.mark.parametrize("name", [["sites", "smolm2"], ["fetch", "smolm2"]])
def test_a_misspelt_specimen_gives_the_nearest(
    name: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*name) == 1
    assert "smollm2" in capsys.readouterr().err


def test_a_room_without_methods_and_one_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods", "steering") == 0
    assert "no method of steering is here yet" in capsys.readouterr().out
    assert run("methods", "circuitz") == 1
    assert "circuits" in capsys.readouterr().err
    for below in ("network", "behaviour"):  # floors that hold methods of some papers
        assert run("methods", below, "--json") == 0
        assert json.loads(capsys.readouterr().out)


def test_claims_elsewhere_say_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NISSL_CLAIMS", raising=False)
    assert run("claims") == 0
    assert f"no claims in {tmp_path / 'claims'}" in capsys.readouterr().out
    assert run("claims", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_specimens_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("specimens", "--kind", "recording", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"worm", "haxby"} <= {row["name"] for row in rows}


def test_specimens_fit_a_terminal_of_80_letters_and_break_no_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("specimens") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    from nissl.specimens import specimens

    words = {word.strip("()") for word in shown.split()}
    table = specimens()
    for text in (*table["name"], *table["about"], *table["licence"]):
        assert {word.strip("()") for word in text.split()} <= words


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A table of two units, of which the second responds to the right side."""
    rng = np.random.default_rng(0)
    side = np.tile([0, 1], 40)
    units = {"left": rng.normal(size=80), "right": rng.normal(size=80) + 4 * side}
    labels = {"trial": [f"t{i}" for i in range(80)], "side": np.array(["l", "r"])[side]}
    pd.DataFrame({**units, **labels}).to_csv(tmp_path / "cells.csv", index=False)
    return tmp_path / "cells.csv"


def test_info_describes_a_file(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", str(cells), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["samples"], told["units"]) == (80, 2)
    assert run("info", str(cells)) == 0
    assert "samples" in capsys.readouterr().out


def test_info_fits_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = [f"a long name of a region, number {i}" for i in range(12)]
    table = pd.DataFrame({"region": words, "x" * 60: range(12), "u": np.arange(12.0)})
    table.to_csv(tmp_path / "t.csv", index=False)
    assert run("info", str(tmp_path / "t.csv"), "--samples", "region") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "12 words: a long name" in " ".join(out.split())
    assert "number 7" in " ".join(out.split())


@pytest.mark.real
def test_what_is_no_recording_is_not_described(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("reader", "resnet50"):
        assert run("info", name) == 1
    assert "--kind recording" in capsys.readouterr().err


def test_sites_fold_their_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from tiny import tiny

    model = tiny("llama", dtype=torch.float32)
    model.save_pretrained(tmp_path)
    capsys.readouterr()
    assert run("sites", str(tmp_path), "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    n_blocks = model.config.num_hidden_layers
    found = {row["site"]: row for row in rows}
    assert len(found) == len(rows)
    last = ", ".join(map(str, range(n_blocks))) if n_blocks < 3 else f"0-{n_blocks - 1}"
    assert found["blocks.*.mlp.neurons"]["blocks"] == last
    assert found["blocks.*.mlp.neurons"]["width"] == model.config.intermediate_size
    assert run("sites", str(tmp_path), "--all", "--json") == 0
    every = {row["site"] for row in json.loads(capsys.readouterr().out)}
    assert {"blocks.0.mlp.neurons", "model.layers.0.mlp", "logits"} <= every
    folded = [site for site in every if site.startswith("blocks.")]
    assert len(folded) == n_blocks * sum(site.startswith("blocks.*") for site in found)


def test_modules_that_differ_are_not_folded() -> None:
    from torch import nn

    from nissl.cli.see import _folded
    from nissl.network import load

    def part(last: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2), last)

    model = nn.Sequential(part(nn.ReLU()), part(nn.ReLU()), part(nn.Tanh()), nn.Linear(2, 2))
    assert {row["site"]: row["blocks"] for row in _folded(load(nn.ModuleDict({"a": model})))} == {
        "a": "",
        "a.*": "0-2",
        "a.*.0": "0-2",
        "a.*.1": "0, 1",
        "a.2.1": "",
        "a.3": "",
    }


def test_an_atlas_of_a_table_finds_what_was_planted(
    cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("atlas", str(cells), "--out", str(out), "--quiet", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tuned"]["side"] == 1
    assert "<title>" in Path(told["page"]).read_text()
    units = pd.read_parquet(out / "units.parquet").set_index("unit")
    assert units["kind"].to_dict() == {"left": "unexplained", "right": "tuned"}
    assert run("atlas", str(cells), "--out", str(out), "--quiet") == 0
    assert str(out / "index.html") in capsys.readouterr().out


def test_options_of_the_readers_are_handed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"trial": np.arange(80) // 2, "time": np.arange(80) / 4})
    table = table.assign(cell=rng.normal(size=80))
    table.to_csv(tmp_path / "t.csv", index=False, sep="|")
    arguments = (str(tmp_path / "t.csv"), "--samples", "trial, time", "--sep", "|")
    assert run("info", *arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["units"], list(told["sample coordinates"])) == (1, ["trial", "time"])
    out = tmp_path / "out"
    assert run("atlas", *arguments, "--out", str(out), "--quiet") == 0
    assert pd.read_parquet(out / "units.parquet")["unit"].tolist() == ["cell"]
    capsys.readouterr()
    assert run("info", str(tmp_path / "t.csv"), "--tr", "2") == 1
    assert "no option is called 'tr'" in capsys.readouterr().err
    assert run("atlas", "smollm2", "--bin", "2", "--out", str(out)) == 1
    assert "no option is called 'bin'" in capsys.readouterr().err


def test_control_characters_of_files_are_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "\x1b[2J\u202e\x07"
    pd.DataFrame({"label": [f"a{bad}", "b"], "u": [1, 2]}).to_csv(tmp_path / "t.csv", index=False)
    for more in ((), ("--json",)):
        assert run("info", str(tmp_path / "t.csv"), *more) == 0
        out = capsys.readouterr().out
        assert all(c.isprintable() or c == "\n" for c in out)
        assert "u202e" in out
    pd.DataFrame({f"u{bad}": [1, "x"]}).to_csv(tmp_path / "t.csv", index=False)
    assert run("info", str(tmp_path / "t.csv")) == 1
    assert all(c.isprintable() or c == "\n" for c in capsys.readouterr().err)
    program = (
        "import warnings, nissl.recording; from nissl.cli import main; "
        f"nissl.recording.info = lambda *_: warnings.warn({bad!r}) or {{}}; "
        f"main(['info', {str(tmp_path / 't.csv')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "u202e" in done.stderr
    assert all(c.isprintable() or c == "\n" for c in done.stderr)


def test_a_recording_that_is_not_there_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "nowhere.nwb") == 1
    assert "nowhere.nwb" in capsys.readouterr().err


@pytest.mark.real
def test_text_that_is_not_there_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("record", "smollm2", "--text", "nothing.txt", "--store", str(tmp_path / "s"))
    assert run(*arguments) == 1
    assert "there is no such file: nothing.txt" in capsys.readouterr().err
    for name, says in (
        ("raeder", "did you mean 'reader'"),
        ("smollm2", "this is neither text nor images"),
    ):
        arguments = ("record", "smollm2", "--text", name, "--store", str(tmp_path / "s"))
        assert run(*arguments) == 1
        assert says in capsys.readouterr().err


def test_a_network_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from tiny import tiny

    tiny("llama", dtype=torch.float32).save_pretrained(tmp_path / "net")
    capsys.readouterr()
    assert run("check", str(tmp_path / "net"), "-q", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 12
    assert {row["result"] for row in rows} == {"holds"}


@pytest.mark.real
def test_a_network_is_recorded_and_described(
    smollm2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("The capital of France is Paris.")
    store = str(tmp_path / "acts.zarr")
    assert (
        run(
            "record",
            str(smollm2_folder),
            "-t",
            str(tmp_path / "text.txt"),
            "-q",
            "-s",
            "blocks.0.mlp.neurons",
            "--tokens",
            "1000",
            "--store",
            store,
        )
        == 0
    )
    assert "the text has 7 tokens: all are read" in capsys.readouterr().err
    assert run("info", store, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["units"] == 1536
    assert told["samples"] >= 7
    assert run("sites", str(smollm2_folder), "--all", "--markdown") == 0
    assert "| blocks.0.mlp.neurons | 0 | 1536 |" in capsys.readouterr().out
    assert run("sites", str(smollm2_folder)) == 0
    said = capsys.readouterr().out
    assert "blocks.*.mlp.neurons" in said
    assert len(said.splitlines()) < 60
    assert max(map(len, said.splitlines())) <= 80

    from nissl.features import TopK, TrainedDictionary

    made = TrainedDictionary(TopK(2), 8, 576, site_in="blocks.0.resid_post")
    file = str(made.save(tmp_path / "sae.safetensors"))
    text = ["-t", str(tmp_path / "text.txt"), "--tokens", "6", "-q", "--dtype", "bfloat16"]
    out = tmp_path / "atlas"
    assert run("atlas", str(smollm2_folder), "--dictionary", file, "-o", str(out), *text) == 0
    units = pd.read_parquet(out / "units.parquet")["unit"]
    assert units.tolist() == [f"blocks.0.resid_post.sae[{i}]" for i in range(8)]


def test_a_dictionary_is_trained_on_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NISSL_CACHE", str(tmp_path / "cache"))
    import torch

    from nissl.features import Schedule, load, sae
    from nissl.recording import as_recording, save

    values = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
    store = save(as_recording(values), tmp_path / "acts.zarr")
    options = [
        "--features",
        "12",
        "--k",
        "2",
        "--samples",
        "5120",
        "--batch",
        "256",
        "-q",
        "--json",
    ]
    command = ["train-dictionary", str(store), "--out", str(tmp_path / "sae"), *options]
    assert run(*command) == 0
    found = load(json.loads(capsys.readouterr().out)[0]["path"])
    schedule = Schedule(samples=5120, batch_size=256, cache=False)
    same = sae(as_recording(values), n_features=12, k=2, schedule=schedule, progress=False)
    assert all(torch.equal(x, found.state_dict()[k]) for k, x in same.state_dict().items())
    assert run(*command, "--kind", "topp") == 1
    assert "topk" in capsys.readouterr().err


def test_markdown_keeps_bars_inside_their_cells() -> None:
    assert markdown([{"a": "x|y", "b": 1}]).splitlines()[-1] == "| x\\|y | 1 |"
    assert markdown([]) == ""


CLAIM = """
import nissl
nissl.claim("a", system=34, says="Gains.", measured={"gain": 1.0}, null={}, rule="gain > 0",
            data="planted")
"""
SLOW = "import time; open('started', 'w').close(); time.sleep(60)"


def test_claims_run_show_and_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "replications" / "features").mkdir(parents=True)
    (tmp_path / "replications" / "features" / "a.py").write_text(CLAIM)
    assert run("claims", "--run", "--room", "features") == 0
    capfd.readouterr()
    assert run("claims", "--json") == 0
    assert [r["verdict"] for r in json.loads(capfd.readouterr().out)] == ["holds"]


def test_ctrl_c_is_130_keeps_what_was_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "replications" / "features"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text(CLAIM)
    (folder / "b.py").write_text(SLOW)
    running = subprocess.Popen(
        [sys.executable, "-m", "nissl.cli", "claims", "--run"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's job in the background ignores Ctrl-C, and hands that on to its children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "started").exists():
        assert running.poll() is None
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    _, told = running.communicate()
    assert running.returncode == 130
    assert "the same command goes on from what was saved" in told
    assert (tmp_path / "claims" / "features" / "a.json").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [("./nowhere", "no such file or folder"), ("smollm", "did you mean 'smollm2'")],
)
def test_a_network_that_is_not_there_is_told_from_a_name_misspelled(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sites", name) == 1
    assert said in capsys.readouterr().err


def test_brain_commands_write_a_figure_and_a_table(tmp_path, capsys):
    rng = np.random.default_rng(0)
    label = np.tile(["a", "b", "rest"], 40)
    x = rng.standard_normal((120, 4)) + 2 * (label == "b")[:, None] * np.eye(4)[0]
    names = [f"s{i}" for i in range(120)]
    samples = {"stimulus": names, "label": label, "run": np.repeat(range(4), 30)}
    save(as_recording(x, samples=samples), tmp_path / "rec.zarr")
    features = as_recording(x[:, :2] + rng.standard_normal((120, 2)), samples={"stimulus": names})
    save(features, tmp_path / "features.zarr")
    rec, out = str(tmp_path / "rec.zarr"), tmp_path / "out"
    few = ["--draws", "19", "--out", str(out), "--quiet", "--json"]
    left = ["--label", "label", "--folds", "run", "--leave", "label=rest"]
    assert run("brain", "decode", rec, *left, *few) == 0
    assert "accuracy" in capsys.readouterr().out
    assert run("brain", "encode", str(tmp_path / "features.zarr"), rec, *few) == 0
    assert run("brain", "connectivity", rec, "--measure", "correlation", *few) == 0
    for name in ("decode", "encode", "connectivity"):
        assert (out / f"{name}.png").exists()
        assert len(pd.read_csv(out / f"{name}.csv"))
    assert run("brain", "decode", rec, *left[:-1], "label=none", *few) == 1
    assert "none" in capsys.readouterr().err
