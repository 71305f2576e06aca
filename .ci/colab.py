"""Every notebook opens in Colab.

A link stands below its first cell, and a cell that installs the library there and does nothing elsewhere.

python .ci/colab.py            write both into the notebooks
python .ci/colab.py --check    fail where one is missing or old
"""

import json
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
settings = ConfigParser()
settings.read(ROOT / "settings.ini", encoding="utf8")
CFG = settings["DEFAULT"]


def link(stem):
    repository = f"{CFG['user']}/{CFG['repo']}/blob/{CFG['branch']}"
    notebook = f"{CFG['nbs_path']}/{stem}.ipynb"
    return f"[Open in Colab](https://colab.research.google.com/github/{repository}/{notebook})"


INSTALL = f"""#| hide
#| eval: false
import sys

if "google.colab" in sys.modules:
    !git clone -q --depth 1 {CFG["git_url"]} /content/{CFG["repo"]}
    %cd -q /content/{CFG["repo"]}/{CFG["nbs_path"]}
    %pip install -q -e ..
    sys.path.insert(0, "..")"""


def cells(stem):
    "The two cells of a notebook."
    install = {"cell_type": "code", "id": "colab-install", "metadata": {}, "outputs": []}
    install |= {"execution_count": None, "source": INSTALL.splitlines(keepends=True)}
    text = {"cell_type": "markdown", "id": "colab-link", "metadata": {}, "source": [link(stem)]}
    return [text, install]


def opened(path):
    "The notebook as it should be, as text."
    nb = json.loads(path.read_text(encoding="utf8"))
    first, *rest = [c for c in nb["cells"] if c["id"] not in ("colab-link", "colab-install")]
    nb["cells"] = [first, *cells(path.stem), *rest]
    return json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def missing():
    "The notebooks that are not as they should be."
    paths = sorted((ROOT / CFG["nbs_path"]).glob("[0-9]*.ipynb"))
    return [p for p in paths if json.loads(opened(p)) != json.loads(p.read_text(encoding="utf8"))]


if __name__ == "__main__":
    old = missing()
    if "--check" in sys.argv and old:
        sys.exit(f"run `python .ci/colab.py`: {', '.join(p.name for p in old)}")
    if "--check" not in sys.argv:
        for p in old:
            p.write_text(opened(p), encoding="utf8")
