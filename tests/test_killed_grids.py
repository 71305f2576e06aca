"""A grid that is killed again and again, run by two processes and on machines of two kinds.

It ends with the cells of an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
import pytest

ROOT = Path(__file__).parent.parent
ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
GRID = """
import sys
from dataclasses import replace
import torch
from so_attack import columns, experiments, records, training
from so_attack.columns import RECIPES, grid_attacks, preset
from so_attack.defenses import Ensemble, Natural
from so_attack.training import TrainConfig
torch.set_num_threads(1)
folder, faster = sys.argv[1:]
for room in (columns, experiments, records, training):
    room.low_precision = lambda device="cpu": getattr(torch, faster)
brief, ensemble = TrainConfig(epochs=3, batch_size=400), Ensemble("linf", static=("NetD",))
RECIPES["toy"] = {"natural": ("NetD", Natural(), brief), "ensemble-linf": ("NetD", ensemble, brief)}
attacks = [replace(a, steps=5, step_size=a.eps / 4) for a in grid_attacks(1.0, 0.1)]
attacks = tuple(replace(a, samples=4) if a.noisy else a for a in attacks)
p = replace(preset("quick", list(RECIPES["toy"]), n=30), recipes="toy", attacks=attacks)
for cell in experiments.run(p, folder, progress=False):
    assert "damaged" not in cell.note, cell.note
"""


def start(folder, faster):
    command = [sys.executable, "-W", "ignore", "-c", GRID, str(folder), faster]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=ENV, **streams)


def finish(process):
    err = process.communicate(timeout=600)[1]
    assert process.returncode == 0, err


def cells(folder):
    "What the cells say, without what may differ between two runs of the same thing."
    found = {}
    for path in (folder / "cells").glob("*.json"):
        body = json.loads(path.read_text())
        r = body["result"]
        same = {k: r[k] for k in ("robust", "n", "verdicts", "gradients", "invalid")}
        found[path.name] = same | {"config": body["config"], "search": r["machine"]["search"]}
    return found


@pytest.mark.long
def test_killed_twenty_five_times(tmp_path):
    whole, kinds = {}, ("float32", "bfloat16")
    for faster in kinds:
        began = time.monotonic()
        finish(start(tmp_path / faster, faster))
        takes = time.monotonic() - began
        whole[f"torch.{faster}"] = cells(tmp_path / faster)
    assert [len(them) for them in whole.values()] == [10, 10]
    for them in whole.values():
        assert sum("arithmetic" in cell["config"] for cell in them.values()) == 4
    rng, kills, folders = random.Random(0), 0, 0
    while kills < 25:
        folder, folders = tmp_path / f"killed{folders}", folders + 1
        for _ in range(5):
            running = [start(folder, rng.choice(kinds)) for _ in range(rng.choice((1, 2)))]
            time.sleep(rng.uniform(0.1, 0.9) * takes)
            if running[0].poll() is None:
                running[0].send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM)))
                kills += 1
            running[0].communicate()
            for other in running[1:]:
                if rng.random() < 0.2:
                    finish(other)
                else:
                    other.kill()
                    other.communicate()
        finish(start(folder, rng.choice(kinds)))
        search = json.loads((folder / "run.json").read_text())["search"]
        assert cells(folder) == whole[search]
        print(f"{kills} kills in {folders} folders; this one in {search}", flush=True)
