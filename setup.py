"Everything that packaging needs to know stands in `settings.ini`."

import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

root = Path(__file__).parent
config = ConfigParser()
config.read(root / "settings.ini", encoding="utf8")
cfg = config["DEFAULT"]
readme = root / "README.md"
ZOO = ["manifest.json", "natural.safetensors", "madry-linf.safetensors", "trades-*.safetensors"]
EXTRAS = [key.removesuffix("_requirements") for key in cfg if key.endswith("_requirements")]


def lines(key):
    return cfg.get(key, "").strip().splitlines()


def absolute(text):
    "Links and pictures lead to the repository: a package index shows the text without the files beside it."

    def link(m):
        return f"{m[1]}({cfg['git_url']}/{'raw' if m[1][0] == '!' else 'blob'}/{cfg['branch']}/"

    return re.sub(r"(!?\[[^]]*\])\((?![a-z]+:|#)", link, text)


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    keywords=cfg["keywords"],
    author=cfg["author"],
    url=cfg["git_url"],
    project_urls={"Documentation": cfg["doc_host"] + cfg["doc_baseurl"]},
    license="Apache-2.0",
    long_description=absolute(readme.read_text(encoding="utf8")) if readme.exists() else cfg["description"],
    long_description_content_type="text/markdown",
    # a small part of zoo/ travels in the wheel; the other networks are downloaded when they are asked for
    packages=[*find_packages(include=[cfg["lib_name"], cfg["lib_name"] + ".*"]), cfg["lib_name"] + ".zoo"],
    package_dir={cfg["lib_name"] + ".zoo": "zoo"},
    package_data={cfg["lib_name"]: ["py.typed", "templates/*.html"], cfg["lib_name"] + ".zoo": ZOO},
    zip_safe=False,
    python_requires=">=" + cfg["min_python"],
    install_requires=lines("requirements"),
    extras_require={extra: lines(extra + "_requirements") for extra in EXTRAS},
    entry_points={"console_scripts": cfg["console_scripts"].splitlines()},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
