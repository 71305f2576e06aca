"""Audits that are killed at random moments, and two processes in one folder.

The same results as without, or one sentence: `pytest -m long tests/test_killed_audits.py -n 0`"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
import pandas as pd
import pytest
from so_attack.records import read_table

pytestmark = pytest.mark.long
ROOT = Path(__file__).parent.parent
ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-c", "from so_attack.cli import main; main()"]
AUDIT = "--data mnist5k --n 60 --threat linf:0.02 --threat l2:0.5 --budget 20".split()
NET = """
import torch
from torch import nn
from so_attack.data import mnist5k
def build(seed=0):
    torch.manual_seed(seed)
    net, train = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), mnist5k("train")
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(10):
        opt.zero_grad()
        nn.functional.cross_entropy(net(train.x), train.y).backward()
        opt.step()
    return net
def another(): return build(1)
"""


def start(cwd, args):
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, *args], cwd=cwd, env=ENV, **streams)


def ends(process):  # exit code, stderr
    err = process.communicate(timeout=600)[1]
    return process.returncode, err


def audit(name, out, batch="5"):
    return ["audit", f"net.py:{name}", *AUDIT, "--batch-size", batch, "--out", out]


def ledger(folder):
    return {name: read_table(folder / f"{name}.parquet")[0] for name in ("ledger", "curves")}


def polite(err):
    return "Traceback" not in err and re.match(r"so-attack: .*\.$", err.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    "A folder with a network, and what undisturbed runs find; how long they take."
    folder = tmp_path_factory.mktemp("kills")
    (folder / "net.py").write_text(NET)
    took = {}
    for name in ("build", "another"):
        began = time.monotonic()
        code, err = ends(start(folder, audit(name, f"whole-{name}")))
        took[name] = time.monotonic() - began
        assert code == 0, err
    return folder, took


def killed(home, args, seconds, by):
    process = start(home, args)
    time.sleep(seconds)
    process.send_signal(by)
    code, err = ends(process)
    assert code in (0, -by, 128 + by) and "Traceback" not in err, (code, err)
    return code


def in_order(frame):
    return frame.sort_values(["sample", "threat", "attack"], ignore_index=True)


def test_killed_audits(home):
    "35 kills, seven at a time: the ledger and the curves of an undisturbed run."
    (folder, took), draw, killed_in_time = home, random.Random(0), 0
    whole = ledger(folder / "whole-build")
    for k in range(5):
        for _ in range(7):
            by = draw.choice([signal.SIGKILL, signal.SIGTERM])
            batch = draw.choice(["5", "3", "20"])
            seconds = draw.uniform(0, took["build"])
            killed_in_time += killed(folder, audit("build", f"cut{k}", batch), seconds, by) != 0
        code, err = ends(start(folder, audit("build", f"cut{k}")))
        assert code == 0, err
        for name, frame in ledger(folder / f"cut{k}").items():
            pd.testing.assert_frame_equal(in_order(frame), in_order(whole[name]), atol=1e-5)
    print(f"{killed_in_time} of 35 were killed before they had ended")
    assert killed_in_time >= 20


@pytest.mark.parametrize("other", ["build", "another"])
def test_two_processes_in_one_folder(home, other):
    "One or none is stopped at random: whoever ends well has its own ledger, and the other has a sentence."
    (folder, took), draw = home, random.Random(other)
    whole, said = {name: ledger(folder / f"whole-{name}") for name in ("build", other)}, []
    for k in range(6):
        out, names = f"two-{other}{k}", ["build", other]
        processes = [start(folder, audit(names[0], out))]
        time.sleep(draw.uniform(0, took["build"]))
        processes.append(start(folder, audit(names[1], out)))
        if k % 3:
            time.sleep(draw.uniform(0, took["build"]))
            processes[k % 2].send_signal(draw.choice([signal.SIGKILL, signal.SIGTERM]))
        results = [ends(p) for p in processes]
        for name in names:
            results.append(ends(start(folder, audit(name, out))))
            assert results[-1][0] in (0, 2)
            if results[-1][0] == 0:
                pd.testing.assert_frame_equal(ledger(folder / out)["ledger"], whole[name]["ledger"])
        assert any(code == 0 for code, _ in results[2:])
        assert all("Traceback" not in err and (code != 2 or polite(err)) for code, err in results), results
        said += [err.strip().splitlines()[-1] for code, err in results if code == 2]
    print(*dict.fromkeys(said), sep="\n")
    shutil.rmtree(folder / f"two-{other}0")
