"""Run notebooks from top to bottom and store their outputs.

python .ci/outputs.py nbs/00_norms.ipynb                  all but the cells marked `#| slow` or `#| long`
python .ci/outputs.py nbs/42_pictures.ipynb --flags slow   the slow cells run too

Cells that do not run keep the outputs that they have.
"""

import argparse
import base64
import io
import os
import sys
from pathlib import Path
from execnb.nbio import read_nb, write_nb
from execnb.shell import CaptureShell
from nbdev.clean import nbdev_clean
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "nbs")]
from conftest import FLAGS, directives  # noqa: E402  which cells the tests run, and no progress bars


def stays(cell, flags):
    "Is this cell left alone, with the outputs that it has?"
    if cell.cell_type != "code":
        return True
    for mark, *words in filter(None, directives(cell.source)):
        if mark == "eval" and words == ["false"]:
            return True
        if mark in FLAGS and mark not in flags:
            return True
        if mark == "needs" and not all(map(os.environ.get, words)):
            return True
    return False


def lighter(png):
    "The picture in 128 colours, where that saves a fifth or more; base64, like the picture itself."
    raw, small = base64.b64decode(png), io.BytesIO()
    Image.open(io.BytesIO(raw)).convert("RGB").quantize(128).save(small, "PNG", optimize=True)
    if small.tell() >= 0.8 * len(raw):
        return png
    return base64.b64encode(small.getvalue()).decode() + "\n"


def store(path, flags=()):
    "Execute a notebook in place; a cell that fails leaves the file as it was."
    path = Path(path).resolve()
    os.chdir(path.parent)
    CaptureShell(mpl_format="png").execute(path, path, exc_stop=True, preproc=lambda cell: stays(cell, flags))
    os.chdir(ROOT)
    nb = read_nb(path)
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            png = output.get("data", {}).get("image/png")
            if png:
                output["data"]["image/png"] = lighter("".join(png))
    write_nb(nb, path)
    nbdev_clean(str(path))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--flags", nargs="*", default=[], choices=FLAGS)
    args = parser.parse_args()
    for path in [p.resolve() for p in args.notebooks]:
        store(path, args.flags)
