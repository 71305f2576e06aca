"""pytest runs the notebooks: one test a code cell, one shell a notebook.

Cells marked `#| eval: false` are no tests. A cell marked with one of settings.ini's `tst_flags` carries that
mark (`pytest -m slow`). `#| needs VARIABLE` skips a cell where that environment variable is unset, as
`@pytest.mark.needs("VARIABLE")` does for a test function. Notebooks find `nbs/toys.py`, because they run in
their folder and pytest.ini puts it on the path.
"""

import json
import os
import traceback
from configparser import ConfigParser
from pathlib import Path
import pytest

os.environ.update(TQDM_DISABLE="1", IN_TEST="1", MPLBACKEND="agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes share the cores, threads would fight for them
settings = ConfigParser()
settings.read(Path(__file__).with_name("settings.ini"), encoding="utf8")
FLAGS = settings["DEFAULT"]["tst_flags"].split()


def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".ipynb" and not file_path.name.startswith("_"):
        return Notebook.from_parent(parent, path=file_path)


# What takes longest begins first, so that no core is left alone with it at the end.
# (pytest.ini keeps this order.)
LONG = [
    "tests/test_paper.py",
    "tests/test_audit.py",
    "nbs/06_attacks.ipynb",
    "tests/test_cli.py",
    "nbs/12_training.ipynb",
    "nbs/61_audit_it.ipynb",
    "nbs/36_audit.ipynb",
    "nbs/04_curvature.ipynb",
    "nbs/63_norm.ipynb",
]


def pytest_collection_modifyitems(items):
    place = {Path(__file__).parent / name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_runtest_setup(item):
    for variable in [v for mark in item.iter_markers("needs") for v in mark.args]:
        if not os.environ.get(variable):
            pytest.skip(f"needs {variable}")


def directives(source):
    "The `#|` lines of a cell, each as a list of words."
    return [line[2:].replace(":", " ").split() for line in source.splitlines() if line.startswith("#|")]


class Notebook(pytest.File):
    "The code cells of a notebook, in order; `shell` is started by the first that runs."

    shell = failed = None

    def collect(self):
        self.cells = []
        for i, cell in enumerate(json.loads(self.path.read_text(encoding="utf8"))["cells"]):
            source = "".join(cell["source"])
            is_code = cell["cell_type"] == "code" and source.strip()
            if is_code and ["eval", "false"] not in directives(source):
                self.cells.append(Cell.from_parent(self, name=f"cell{i}", source=source))
        return self.cells

    def start(self):
        from execnb.shell import CaptureShell

        def silent(*args, **kwargs):
            "`repr_failure` shows what went wrong."

        self.shell = CaptureShell(mpl_format="png")
        self.shell.showtraceback = self.shell.showsyntaxerror = silent

    def run(self, cell):
        "Run one cell, in the folder of the notebook."
        here = os.getcwd()
        os.chdir(self.path.parent)
        try:
            outputs = self.shell.run(cell.source)
        finally:
            os.chdir(here)
        print(*["".join(o["text"]) for o in outputs if o["output_type"] == "stream"], sep="", end="")
        if self.shell.exc:
            self.failed = cell
            raise self.shell.exc

    def run_until(self, last):
        """Run `last`, after the cells before it that were not selected and carry no mark.

        So a single cell can be asked for."""
        if self.shell is None:
            self.start()
        for cell in self.cells[: self.cells.index(last) + 1]:
            if not cell.done and (cell is last or not any(cell.iter_markers())):
                cell.done = True
                self.run(cell)


class Cell(pytest.Item):
    done = False

    def __init__(self, source, **kwargs):
        super().__init__(**kwargs)
        self.source = source
        for name, *words in filter(None, directives(source)):
            if name in FLAGS:
                self.add_marker(name)
            if name == "needs":
                self.add_marker(pytest.mark.needs(*words))

    def runtest(self):
        if self.parent.failed:
            pytest.skip(f"{self.parent.failed.name} failed")
        self.parent.run_until(self)

    def repr_failure(self, excinfo):
        "The cell, and the traceback from the cell on."
        if not self.parent.failed:
            return super().repr_failure(excinfo)
        frames = traceback.extract_tb(excinfo.tb)
        first = next((i for i, f in enumerate(frames) if f.filename.startswith("<ipython")), len(frames))
        lines = traceback.format_list(frames[first:])
        lines += traceback.format_exception_only(excinfo.type, excinfo.value)
        return self.parent.failed.source + "\n\n" + "".join(lines)

    def reportinfo(self):
        return self.path, None, f"{self.path.name} {self.name}"
