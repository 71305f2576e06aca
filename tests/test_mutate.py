"The tool that breaks one line at a time, on a notebook of its own: what it breaks, what it finds."

import itertools
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOL = runpy.run_path(str(ROOT / ".ci" / "mutate.py"))

EXPORTED = """#| export
def double(x): # any number
    "Twice."
    return x*2

def half(x): # any number
    "Half of it; nobody asks."
    return x/2

def third(x): # asked elsewhere
    return x/3"""
IMPORT, TEST = "from toy.sums import third", "def test_third(): assert third(6) == 2"


@pytest.fixture
def checkout(tmp_path):
    "A notebook whose first function is tested in it, the third elsewhere, and the second nowhere."
    cells = [("first", "#| default_exp sums"), ("code", EXPORTED), ("test", "assert double(3) == 6")]
    cells = [{"cell_type": "code", "id": name, "metadata": {}, "source": source} for name, source in cells]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    code = EXPORTED.split("\n", 1)[1]
    files = {
        "nbs/00_sums.ipynb": json.dumps(book),
        "toy/__init__.py": "",
        "toy/sums.py": f"# %% ../nbs/00_sums.ipynb #code\n{code}\n",
        "tests/test_third.py": f"{IMPORT}\n\n{TEST}\n",
        "pytest.ini": "[pytest]\naddopts = -n auto\n",
        "settings.ini": "[DEFAULT]\nnbs_path = nbs\nlib_path = toy\ntst_flags = slow\n",
    }
    for name, text in files.items():
        (tmp_path / "repo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / name).write_text(text)
    shutil.copy(ROOT / "conftest.py", tmp_path / "repo")
    return tmp_path / "repo"


def mutate(checkout, *words):
    command = [sys.executable, ROOT / ".ci" / "mutate.py", "--root", checkout, "--jobs", "1"]
    command += ["--folder", checkout.parent / "work"]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout


def test_a_line_is_noticed_at_home_elsewhere_or_nowhere(checkout):
    before = {p: p.read_bytes() for p in checkout.rglob("*") if p.is_file()}
    told = mutate(checkout, "--n", "3", "--own")
    assert "sums                   3           0             1     0          2   33.3 %" in told
    told = mutate(checkout, "--n", "3")  # the other two are asked for elsewhere
    assert "sums                   3           0             1     1          1   66.7 %" in told
    assert told.count("survives:") == 1 and "\n  - return x/2\n" in told
    assert {p: p.read_bytes() for p in checkout.rglob("*") if p.is_file()} == before
    assert "SURVIVES" not in mutate(checkout, "--n", "3")  # all is known
    after = next(line.strip()[2:] for line in told.splitlines() if line.startswith("  + "))
    (checkout / ".ci").mkdir()
    listed = [{"room": "sums", "before": "return x/2", "after": after, "because": "nobody asks"}]
    (checkout / ".ci" / "equivalent.json").write_text(json.dumps(listed))
    told = mutate(checkout, "--n", "3")
    assert "sums                   3           1             1     1          0  100.0 %" in told


def test_what_is_asked_again(checkout, tmp_path):
    mutation = next(TOOL["Checkout"](checkout).mutations("sums"))
    results = TOOL["Results"](tmp_path / "results.jsonl")
    assert results.open(mutation, own=True, again=False)
    cases = [(None, True, True, False), (None, True, False, True), (None, True, True, True)]
    for by, own, asked, again in (*cases, (None, False, False, True), ("owner", True, False, True)):
        results.tell({"name": mutation.name, "by": by, "own": own, "room": "", "after": "", "seconds": 0.0})
        with open(tmp_path / "results.jsonl", "a") as f:
            f.write('{"cut off')
        read = TOOL["Results"](tmp_path / "results.jsonl")
        open_again = by is None and (again or own and not asked)
        assert read.open(mutation, own=asked, again=again) == open_again
        with open(tmp_path / "results.jsonl", "a") as f:
            f.write("\n")


@pytest.mark.parametrize(
    "line, after",
    [
        ("return a < b", {"return a <= b", "return a > b", "return a"}),
        ("return a + 1", {"return a - 1", "return a + 2", "return a + 0", "return a"}),
        ("return f(a, b=b)", {"return f(a)", "return a"}),
        ("return f(a, b)", {"return f(b, a)", "return a"}),
        ("return not a", {"return a"}),
        ("return a and b", {"return a or b", "return a"}),
        ("return max(a)", {"return min(a)", "return a"}),
        ("return a[b]", {"return a"}),
        ("return f(a).abs()", {"return f(a).sign()", "return f(a)", "return a"}),
        ("if a: raise ValueError(f'{a + 1}')", {"if not (a): raise ValueError(f'{a + 1}')", "if a: pass"}),
        ('print(a + 1); "a sentence"', {'pass; "a sentence"'}),
        ("bar.set_postfix(a + 1)", set()),
        ("a.b = True", {"pass", "a.b = False"}),
    ],
)
def test_what_is_broken(line, after):
    "And comments, sentences and annotations are left alone."
    source = f'def f(a:int, # first\n      b=None): # 1 < 2\n    "1 < 2"\n    {line}'
    assert {new.strip() for _, new, _, _ in TOOL["of_cell"](source)} == after


def test_both_files_change_in_one_line(checkout):
    toy = TOOL["Checkout"](checkout)
    mutation = next(toy.mutations("sums"))
    book, module = TOOL["written"](toy, mutation).values()
    old, new = (checkout / "toy" / "sums.py").read_text().splitlines(), module.splitlines()
    changed = [pair for pair in zip(old, new) if pair[0] != pair[1]]
    assert len(old) == len(new) and changed == [(mutation.before, mutation.after)]
    assert mutation.after in json.loads(book)["cells"][1]["source"]


def test_every_room_can_be_broken():
    "Each line is found in the notebook and in the module; what cannot be noticed is listed with a reason."
    ours = TOOL["Checkout"](ROOT)
    for room in ours.rooms:
        for mutation in itertools.islice(ours.mutations(room), 5):
            TOOL["written"](ours, mutation)
    assert all(reason.strip() for reason in TOOL["equivalents"](ROOT).values())


def test_what_cannot_be_noticed_can_still_be_broken():
    "A line that has changed since leaves its place in the list."
    ours, listed = TOOL["Checkout"](ROOT), set(TOOL["equivalents"](ROOT))
    rooms = {room for room, _, _ in listed}
    there = {(m.room, m.before.strip(), m.after.strip()) for room in rooms for m in ours.mutations(room)}
    assert listed and not listed - there
