"""Run notebooks from top to bottom and store their outputs.

    python .ci/outputs.py nbs/00_norms.ipynb                  cells marked `#| slow` or `#| long` keep the outputs that they have
    python .ci/outputs.py nbs/22_figure1.ipynb --flags slow   the slow cells run too
"""
import argparse, os, sys
from pathlib import Path
from execnb.shell import CaptureShell
from nbdev.clean import nbdev_clean

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from conftest import FLAGS, directives  # which cells the tests run, and no progress bars

def stays(cell, flags):
    "Is this cell left alone, with the outputs that it has?"
    marks = directives(cell.source) if cell.cell_type == "code" else [["eval", "false"]]
    return any(m == ["eval", "false"] or m and m[0] in FLAGS and m[0] not in flags or m[:1] == ["needs"] and not all(map(os.environ.get, m[1:])) for m in marks)

def store(path, flags=()):
    "Execute a notebook in place; a cell that fails leaves the file as it was."
    path = Path(path).resolve()
    os.chdir(path.parent)
    CaptureShell(mpl_format="png").execute(path, path, exc_stop=True, preproc=lambda cell: stays(cell, flags))
    os.chdir(ROOT)
    nbdev_clean(str(path))

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--flags", nargs="*", default=[], choices=FLAGS)
    args = parser.parse_args()
    for path in [p.resolve() for p in args.notebooks]: store(path, args.flags)
