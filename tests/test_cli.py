"""`so-attack`: started, killed, continued, damaged, misused.

In a process of its own where signals, limits or what it leaves behind matter."""

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
import pytest
from rich.console import Console
from typer.testing import CliRunner
from so_attack import cli
from so_attack.cli import app
from so_attack.columns import ROWS
from so_attack.models import zoo_network
from so_attack.models import ModelMissing

ROOT = Path(__file__).parent.parent
ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-c", "from so_attack.cli import main; main()"]
GRID = ["--n", "2", "--columns", "natural,madry-linf"]


def so_attack(*args, cwd, code=0):
    "Run the command to its end; (stdout, stderr)."
    command = [*COMMAND, *map(str, args)]
    r = subprocess.run(command, cwd=cwd, env=ENV, capture_output=True, text=True, timeout=300)
    assert r.returncode == code, r.stderr
    assert "Traceback" not in r.stderr
    return r.stdout, r.stderr


def asked(*args, code=0):
    "The same within this process, which costs no start; (stdout, stderr)."
    r = CliRunner().invoke(app, [str(a) for a in args])
    assert r.exit_code == code, r.output
    return r.stdout, r.stderr


SAME = ("robust", "n", "verdicts", "gradients", "invalid")


def cells(folder):
    "What the cells say, without what may differ between two runs of the same thing."
    found = {}
    for path in (folder / "cells").glob("*.json"):
        body = json.loads(path.read_text())
        found[path.name] = {k: body["result"][k] for k in SAME}
    return found


def listens():
    "A job in the background inherits that Ctrl-C is ignored."
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stopped(*args, cwd, by, after=1, files="runs/zoo/cells/*.json"):
    """Start the command and stop it with a signal once `after` cells (or other `files`) are on disk.

    (return code, stderr)"""
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    command = [*COMMAND, *map(str, args)]
    with subprocess.Popen(command, cwd=cwd, env=ENV, preexec_fn=listens, **streams) as p:
        end = time.monotonic() + 240
        while len(list(Path(cwd).glob(files))) < after and p.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        p.send_signal(by)
        err = p.communicate(timeout=60)[1]
    return p.returncode, err


@pytest.fixture(scope="session")
def zoo():
    for column in ("natural", "madry-linf"):
        try:
            zoo_network(column)
        except ModelMissing as e:
            pytest.skip(f"{column}: {e}")


@pytest.fixture(scope="session")
def whole(zoo, tmp_path_factory):
    "A run that nothing disturbed: its folder, and what it printed."
    cwd = tmp_path_factory.mktemp("whole")
    return cwd / "runs" / "zoo", *so_attack("reproduce", *GRID, cwd=cwd)


def test_reproduce_fills_the_table(whole):
    folder, out, err = whole
    assert len(cells(folder)) == 2 * len(ROWS)
    assert "madry-linf" in out and "98.8/" in out and "mnist5k-test[:2]" in out and "verdict mode" in out
    assert (folder / "table1.png").read_bytes().startswith(b"\x89PNG")
    lines = err.strip().splitlines()
    assert lines[0].endswith("2 images, less than a minute.") and len(lines) == 1 + 2 * len(ROWS) + 1
    assert lines[1].startswith("madry-linf, PGD ℓ2 ε=4: ") and "% of 2 images" in lines[1]
    assert lines[3].startswith("madry-linf: PGD ℓ2 ε=4 leaves 100.0 %")  # the effect, before all else
    assert "| atda-mix | 99.0 / not run |" in (folder / "table1.md").read_text()


def test_cells_say_where_they_come_from(whole):
    folder, *_ = whole
    for path in (folder / "cells").glob("*.json"):
        body = json.loads(path.read_text())
        config, result = body["config"], body["result"]
        assert config["data"]["name"] == "mnist5k-test[:2]"
        assert config["data"]["n"] == result["n"] == len(result["verdicts"]) == 2
        assert config["network"]["sha256"] == zoo_network(config["column"]).sha256 and config["seed"] == 0
        assert {"torch", "so_attack", "python"} <= set(result["versions"]) and result["machine"]["cores"] >= 1
        assert result["low"] <= result["accuracy"] <= result["high"] and result["minutes"] >= 0
        assert (result["gradients"] == 0) == (config["row"] == "natural")


def test_table1_for_machines(whole):
    folder, *_ = whole
    table = json.loads(asked("table1", "--json", "--out", folder)[0])["columns"]
    assert set(table["madry-linf"]) == set(ROWS)
    assert set(table["madry-linf"]["pgd-l2"]) == {"accuracy", "low", "high", "n", "seeds"}
    assert table["madry-linf"]["natural"]["n"] == 2 and table["trades-mix"]["so-l2"] is None


def test_table1_shows_the_results_that_ship(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, _ = asked("table1")
    assert "98.8/" in out and "Preset full" in out and not list(tmp_path.iterdir())
    table = json.loads(asked("table1", "--json")[0])["columns"]
    assert table["madry-linf"]["pgd-linf"]["n"] == 10_000


def test_a_table_fills_on_a_terminal(whole, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(
        cli, "_console", lambda least=1: Console(file=terminal, force_terminal=True, width=100)
    )
    asked("reproduce", *GRID, "--out", whole[0])
    shown = terminal.getvalue()
    assert "10 of 10 cells" in shown and "accuracy in %" in shown
    assert "madry-linf: PGD ℓ2 ε=4 leaves" in shown


def test_killed_twice_and_continued(whole, tmp_path):
    folder, before = tmp_path / "runs" / "zoo", {}
    args = ["reproduce", *GRID[:-1], "natural"]
    for after in (1, 3):
        code, _ = stopped(*args, cwd=tmp_path, by=signal.SIGKILL, after=after)
        assert code == -signal.SIGKILL and after <= len(list((folder / "cells").glob("*.json"))) < len(ROWS)
        assert all(p.stat().st_mtime_ns == t for p, t in before.items())  # finished cells stay as they are
        before = {p: p.stat().st_mtime_ns for p in (folder / "cells").glob("*.json")}
    so_attack(*args, cwd=tmp_path)
    undisturbed = cells(whole[0]).items()
    assert cells(folder) == {name: cell for name, cell in undisturbed if name.startswith("natural")}


@pytest.mark.slow
def test_training_killed_twice_and_continued(tmp_path_factory):
    "Killed during a training, and again while the trained network is judged: the same weights and verdicts."
    args, ran = ["reproduce", "--preset", "quick", "--n", "2", "--columns", "natural"], []
    for files in ((), ("runs/quick/networks/*/checkpoint.safetensors", "runs/quick/cells/*.json")):
        cwd = tmp_path_factory.mktemp("train")
        for wait_for in files:
            assert stopped(*args, cwd=cwd, by=signal.SIGKILL, files=wait_for)[0] == -signal.SIGKILL
        so_attack(*args, cwd=cwd)
        (network,) = (cwd / "runs" / "quick").glob("networks/*/network.safetensors")
        ran.append((network.read_bytes(), cells(cwd / "runs" / "quick")))
    assert ran[0] == ran[1] and len(ran[0][1]) == len(ROWS)


def small_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))


def test_a_full_disk_leaves_nothing_broken(zoo, tmp_path):
    """The file system has no room left: one sentence, and what is on disk is whole.

    A limit on the size of files stands in for the full disk."""
    command = [*COMMAND, "reproduce", *GRID, "--out", "here"]
    told = {"capture_output": True, "text": True, "timeout": 300}
    r = subprocess.run(command, cwd=tmp_path, env=ENV, preexec_fn=small_files, **told)
    assert r.returncode == 2 and "Traceback" not in r.stderr and "File too large" in r.stderr.splitlines()[-1]
    left = {p.name for p in (tmp_path / "here").rglob("*") if p.is_file()}
    assert left <= {"run.json", ".run.json.lock"}


def test_ctrl_c_says_how_to_continue(whole, tmp_path):
    code, err = stopped("reproduce", *GRID, cwd=tmp_path, by=signal.SIGINT, after=2)
    assert code == 130 and "Traceback" not in err
    assert f"`so-attack reproduce {' '.join(GRID)}` continues" in err.splitlines()[-1]


def test_damaged_cells_are_named_and_computed_again(whole, tmp_path):
    shutil.copytree(whole[0], folder := tmp_path / "copy")
    half, changed = sorted((folder / "cells").glob("natural_*.json"))[:2]
    half.write_bytes(half.read_bytes()[:200])
    changed.write_text(changed.read_text().replace('"n": 2', '"n": 3'))
    _, err = asked("reproduce", *GRID, "--out", folder)
    assert half.name in err and changed.name in err and "damaged" in err
    assert cells(folder) == cells(whole[0])


def test_a_cell_of_another_run_is_refused(whole, tmp_path):
    shutil.copytree(whole[0], folder := tmp_path / "copy")
    a, b = sorted((folder / "cells").glob("natural_*.json"))[:2]
    a.write_bytes(b.read_bytes())
    _, err = asked("reproduce", *GRID, "--out", folder, code=2)
    assert a.name in err and "another configuration" in err


MISTAKES = {
    "reproduce --columns natural,madry-l7": "unknown column 'madry-l7': the known ones are natural, madry",
    "reproduce --out file/x": "cannot write to file/x",
    "table1 --preset quick": "there are no results in runs/quick",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_mistakes_get_one_sentence(tmp_path, monkeypatch, typed):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    (out, err), sentence = asked(*typed.split(), code=2), MISTAKES[typed]
    assert out == "" and sentence in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()  # nothing was begun


def test_models_are_listed():
    out, _ = asked("models")
    assert "madry-linf" in out and "trades-linf-official" in out
