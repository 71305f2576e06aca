"""Run notebooks from top to bottom and store their outputs.

python .ci/outputs.py nbs/00_norms.ipynb                  cells marked `#| slow` or `#| long` keep the outputs that they have
python .ci/outputs.py nbs/32_figure1.ipynb --flags slow   the slow cells run too
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
from conftest import FLAGS, directives  # which cells the tests run, and no progress bars


def stays(cell, flags):
    "Is this cell left alone, with the outputs that it has?"
    marks = directives(cell.source) if cell.cell_type == "code" else [["eval", "false"]]
    return any(
        m == ["eval", "false"]
        or m
        and m[0] in FLAGS
        and m[0] not in flags
        or m[:1] == ["needs"]
        and not all(map(os.environ.get, m[1:]))
        for m in marks
    )


def lighter(png):
    "The picture in 128 colours, where that saves a fifth or more; base64, like the picture itself."
    raw, small = base64.b64decode(png), io.BytesIO()
    Image.open(io.BytesIO(raw)).convert("RGB").quantize(128).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode() + "\n" if small.tell() < 0.8 * len(raw) else png


def store(path, flags=()):
    "Execute a notebook in place; a cell that fails leaves the file as it was."
    path = Path(path).resolve()
    os.chdir(path.parent)
    CaptureShell(mpl_format="png").execute(path, path, exc_stop=True, preproc=lambda cell: stays(cell, flags))
    os.chdir(ROOT)
    nb = read_nb(path)
    for output in (o for c in nb.cells for o in c.get("outputs", [])):
        if png := output.get("data", {}).get("image/png"):
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
