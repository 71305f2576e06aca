"""README.md from nbs/index.ipynb, without Quarto.

python .ci/readme.py           write README.md
python .ci/readme.py --check   fail if README.md is not what the notebook makes
"""

import os
import re
import sys
from pathlib import Path
from execnb.nbio import nb2str, read_nb
from nbconvert import MarkdownExporter
from nbdev.config import get_config
from nbdev.processors import FilterDefaults
import nbformat

ROOT = Path(__file__).resolve().parents[1]


def readme():
    os.chdir(ROOT)
    nbs = get_config().nbs_path.relative_to(ROOT).as_posix()
    nb = read_nb(ROOT / nbs / get_config().readme_nb)
    title = nb.cells[0].source  # nbdev makes front matter of it, a README wants it as it is
    FilterDefaults()(nb)  # what nbdev hides from its pages, it hides here
    clean = nbformat.reads(nb2str(nb), as_version=4)
    clean.metadata.language_info = {"name": "python"}  # so that fences say python
    for cell in clean.cells:
        cell.source = re.sub(r"(?m)^#\|.*\n", "", cell.source)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("text/html", None)  # a table is printed as text
    text, resources = MarkdownExporter().from_notebook_node(clean)
    if resources["outputs"]:
        raise SystemExit(f"save index's pictures in {nbs}/images and show them with ![](images/…)")
    text = re.sub(r"\A---\n.*?\n---\n", lambda _: title + "\n", text, flags=re.S)
    text = re.sub(r"\]\((?![a-z]+:|#|/)", f"]({nbs}/", text)  # paths start at the root
    text = text.replace(f"]({nbs}/../", "](")
    text = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


if __name__ == "__main__":
    path, text = ROOT / "README.md", readme()
    if "--check" not in sys.argv:
        path.write_text(text, encoding="utf8")
    elif not path.exists() or path.read_text(encoding="utf8") != text:
        sys.exit("README.md is not the one that nbs/index.ipynb makes: run `python .ci/readme.py`")
