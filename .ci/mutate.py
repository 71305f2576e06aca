"""Break one exported line at a time, in its notebook and in its module, and see which tests notice.

    python .ci/mutate.py --rooms norms,attacks --n 60   60 random mutations: a table, the survivors
    python .ci/mutate.py --rooms norms --own            the owning notebook alone is asked
    python .ci/mutate.py --rooms norms --survivors      the survivors of the last run again, after new tests

All of it happens in copies of the checkout in a temporary folder, which also keeps the results: a run that
was stopped goes on. Mutants that no test can notice are listed, with the reason, in `.ci/equivalent.json`.

The libraries for this (mutmut, cosmic-ray) mutate modules, while our tests run the cells of notebooks; and
what they break (a string, an argument that becomes None) mostly ends in a TypeError: easily noticed.
"""

import argparse
import ast
import builtins
import hashlib
import importlib
import json
import math
import os
import random
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import defaultdict
from configparser import ConfigParser
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import find_spec
from multiprocessing import connection, get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_ASKED = ("test_site", "test_mutate")
EXPORTED = re.compile(r"^#\|\s*exporti?\b", re.M)

# ---- mutations: what can be broken ----

COMPARISONS = {
    ast.Lt: ("<", "<=", ">"),
    ast.LtE: ("<=", "<", ">"),
    ast.Gt: (">", ">=", "<"),
    ast.GtE: (">=", ">", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
ARITHMETIC = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.Pow: ("**", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "//"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
PAIRS = [
    ("min", "max"),
    ("amin", "amax"),
    ("minimum", "maximum"),
    ("argmin", "argmax"),
    ("all", "any"),
    ("clamp_min", "clamp_max"),
    ("sum", "mean"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("cos", "sin"),
    ("floor", "ceil"),
    ("isfinite", "isnan"),
    ("isinf", "isnan"),
    ("eval", "train"),
    ("exp", "log"),
    ("median", "mean"),
    ("std", "var"),
    ("softmax", "log_softmax"),
    ("rand", "randn"),
    ("sign", "abs"),
    ("startswith", "endswith"),
]
OTHER_NAME = {a: b for pair in PAIRS[::-1] for a, b in (pair, pair[::-1])}
ALIKE = [{"model", "twin", "search", "judge"}, {"x", "x_adv"}, {"z", "z_adv"}, {"low", "high"}]
DATA_METHODS = {"items", "keys", "values", "item", "tolist", "numpy", "split", "read_text", "read_bytes"}
PROGRESS = {"set_postfix", "set_description", "refresh"}
COSMETIC = {"print", "warn", "warning"} | PROGRESS  # what they say is not looked at
COSMETIC_FUNCTIONS = {"__repr__", "__str__", "_repr_html_", "_repr_markdown_"}


@dataclass(frozen=True)
class Mutation:
    room: str  # name of the module
    notebook: str  # its file name
    cell: str  # id of the cell
    function: str  # the outermost function or method around the line, or ""
    line: int  # number of the line in the cell, from 0
    before: str  # the line
    after: str  # what it becomes
    kind: str  # of mutation

    @property
    def name(self):
        return "|".join((self.room, self.cell, self.function, self.before.strip(), self.after.strip()))

    @property
    def shown(self):
        return f"  - {self.before.strip()}\n  + {self.after.strip()}"


class Finder(ast.NodeVisitor):
    "Collects the mutations of one cell: (line, start, end, new text, kind, function); places in characters."

    def __init__(self, source):
        self.lines = source.splitlines()
        self.found, self.functions, self.classes, self.assigned = [], [], [], set()
        self.visit(ast.parse(source))

    # where things stand

    def column(self, line, byte):
        return len(self.lines[line].encode()[:byte].decode())

    def start(self, node):
        return node.lineno - 1, self.column(node.lineno - 1, node.col_offset)

    def end(self, node):
        return node.end_lineno - 1, self.column(node.end_lineno - 1, node.end_col_offset)

    def text(self, node):
        return self.between(self.start(node), self.end(node))

    def between(self, start, end):
        return self.lines[start[0]][start[1] : end[1]] if start[0] == end[0] else None

    def replace(self, start, end, new, kind):
        if start[0] != end[0] or self.between(start, end) == new:
            return
        self.found.append((start[0], start[1], end[1], new, kind, self.function()))

    def function(self):
        return ".".join([*self.classes, self.functions[0].name]) if self.functions else ""

    def operator(self, left, right, old, new, kind):
        "Replace the operator between two operands."
        start, end = self.end(left), self.start(right)
        between = self.between(start, end)
        if between is not None and old in between:
            at = start[1] + between.index(old)
            self.replace((start[0], at), (start[0], at + len(old)), new, kind)

    def parameters(self):
        if not self.functions:
            return []
        a = self.functions[-1].args
        return [p for p in a.posonlyargs + a.args + a.kwonlyargs if p.arg not in ("self", "cls")]

    # what is left alone

    def visit_Import(self, node):
        pass

    visit_ImportFrom = visit_Global = visit_Nonlocal = visit_JoinedStr = visit_Import

    def visit_Raise(self, node):
        "The sentence of an error is not touched; that it is raised may be dropped."
        self.drop(node)

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node):
        if node.name in COSMETIC_FUNCTIONS:
            return
        self.functions.append(node)
        outer, self.assigned = self.assigned, {p.arg for p in self.parameters()}
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self.functions.pop()
        self.assigned = outer

    def visit_ClassDef(self, node):
        self.classes.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self.classes.pop()

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Constant):
            return
        if getattr(getattr(node.value, "func", None), "attr", None) in PROGRESS:
            return
        self.drop(node)
        self.generic_visit(node)

    # statements

    def drop(self, node):
        self.replace(self.start(node), self.end(node), "pass", "statement dropped")

    def visit_Assign(self, node):
        parts = [n for target in node.targets for n in ast.walk(target)]
        names = [n.id for n in parts if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        stored = [n for n in names if n not in self.assigned]
        if not stored:
            self.drop(node)  # a name that nobody has set before would end in a NameError
        self.assigned |= set(names)
        self.visit(node.value)

    def visit_AugAssign(self, node):
        self.drop(node)
        old, new = ARITHMETIC.get(type(node.op), (None, None))
        if old:
            self.operator(node.target, node.value, old + "=", new + "=", "arithmetic")
        self.visit(node.value)

    def visit_Break(self, node):
        self.drop(node)

    visit_Continue = visit_Break

    def visit_Return(self, node):
        if node.value is None:
            return self.drop(node)
        for first in self.parameters()[:1]:
            self.replace(self.start(node.value), self.end(node.value), first.arg, "first argument returned")
        self.visit(node.value)

    def negate(self, test):
        negation = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        if self.text(test) and not negation:
            self.replace(self.start(test), self.end(test), f"not ({self.text(test)})", "condition negated")

    def visit_If(self, node):
        self.negate(node.test)
        self.generic_visit(node)

    visit_While = visit_If

    def visit_comprehension(self, node):
        for test in node.ifs:
            self.replace(self.start(test), self.end(test), "True", "filter dropped")
        self.generic_visit(node)

    # expressions

    def visit_IfExp(self, node):
        self.negate(node.test)
        for branch in (node.body, node.orelse):
            if self.text(branch):
                self.replace(self.start(node), self.end(node), self.text(branch), "branch taken")
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:]):
            self.operator(left, right, old, new, "and, or")
            if self.text(left) and self.start(left)[0] == self.end(right)[0]:
                self.replace(self.start(left), self.end(right), self.text(left), "condition dropped")
        self.generic_visit(node)

    def visit_Compare(self, node):
        for op, left, right in zip(node.ops, [node.left, *node.comparators], node.comparators):
            old, *new = COMPARISONS[type(op)]
            for other in new:
                self.operator(left, right, old, other, "comparison")
        self.generic_visit(node)

    def visit_BinOp(self, node):
        old, new = ARITHMETIC.get(type(node.op), (None, None))
        text = isinstance(node.op, (ast.Add, ast.Mod)) and any(
            isinstance(n, (ast.JoinedStr, ast.Constant)) and isinstance(getattr(n, "value", ""), str)
            for n in (node.left, node.right)
        )
        if old and not text:
            self.operator(node.left, node.right, old, new, "arithmetic")
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
            self.replace(self.start(node), self.start(node.operand), "", "sign or not dropped")
        self.generic_visit(node)

    def visit_Constant(self, node):
        v, here = node.value, (self.start(node), self.end(node))
        if isinstance(v, bool):
            self.replace(*here, str(not v), "constant")
        elif isinstance(v, int):
            for new in {v + 1, v - 1, 2 * v, 0} - {v}:
                self.replace(*here, str(new), "constant")
        elif isinstance(v, float):
            for new in {v * 2, v / 2, v * 1.1, v + 1, 0.0} - {v}:
                self.replace(*here, repr(new), "constant")

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load):
            self.other_name(node, node.id, self.start(node))
        types = {p.arg: ast.unparse(p.annotation) if p.annotation else None for p in self.parameters()}
        if node.id not in types or not isinstance(node.ctx, ast.Load):
            return
        for name, kind in types.items():
            same = kind is not None and kind == types[node.id]
            if name != node.id and (same or any({name, node.id} <= group for group in ALIKE)):
                self.replace(self.start(node), self.end(node), name, "another argument")

    def visit_Attribute(self, node):
        line, end = self.end(node)
        self.other_name(node, node.attr, (line, end - len(node.attr)))
        self.visit(node.value)

    def other_name(self, node, name, start):
        if name in OTHER_NAME:
            self.replace(start, self.end(node), OTHER_NAME[name], "another function")

    def visit_Subscript(self, node):
        key = node.slice
        table = isinstance(key, ast.Name) and (self.text(node.value) or "").isupper()
        if isinstance(node.ctx, ast.Load) and not table and not isinstance(key, ast.Constant):
            self.replace(self.end(node.value), self.end(node), "", "subscript dropped")
        self.generic_visit(node)

    def visit_Slice(self, node):
        for bound in (node.lower, node.upper, node.step):
            if bound and not isinstance(bound, ast.Constant):
                self.replace(self.start(bound), self.end(bound), "", "bound dropped")
        self.generic_visit(node)

    def visit_Call(self, node):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in COSMETIC or name.endswith(("Error", "Exit", "Warning")):
            return
        args, keywords = node.args, [k for k in node.keywords if k.arg]
        method = isinstance(node.func, ast.Attribute) and name not in DATA_METHODS
        if method and not args and not node.keywords:
            self.replace(self.end(node.func.value), self.end(node), "", "call dropped")
        if name in ("abs", "sorted", "reversed", "set") and len(args) == 1 and self.text(args[0]):
            self.replace(self.start(node), self.end(node), self.text(args[0]), "call dropped")
        for a, b in zip(args, args[1:]):
            self.swap(a, b)
        if name != "tqdm":
            self.drop_keywords(node, keywords)
        self.visit(node.func)
        for a in args:
            self.visit(a)
        for k in node.keywords if name != "tqdm" else ():
            self.visit(k.value)

    def swap(self, a, b):
        "Two arguments of a call change places."
        types, middle = {type(a), type(b)}, self.between(self.end(a), self.start(b))
        if middle is None or ast.Starred in types or types == {ast.Constant}:
            return
        if self.text(a) and self.text(b):
            new = self.text(b) + middle + self.text(a)
            self.replace(self.start(a), self.end(b), new, "arguments swapped")

    def drop_keywords(self, node, keywords):
        everything = sorted([*node.args, *node.keywords], key=self.start)
        for k in keywords:
            i = everything.index(k)
            start = self.end(everything[i - 1]) if i else self.start(k)
            end = self.end(k) if i or len(everything) == 1 else self.start(everything[1])
            self.replace(start, end, "", "keyword argument dropped")


def of_cell(source):
    "The mutations of a cell that are Python: (line, mutated line, kind, function)."
    lines = source.splitlines()
    for line, start, end, new, kind, function in Finder(source).found:
        after = lines[line][:start] + new + lines[line][end:]
        text = "\n".join([*lines[:line], after, *lines[line + 1 :]])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(text, "cell", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        yield line, after, kind, function


# ---- rooms: notebooks and their modules ----


class Checkout:
    "A repository made with nbdev: where its notebooks and modules are."

    def __init__(self, root):
        self.root, config = Path(root).resolve(), ConfigParser()
        config.read(self.root / "settings.ini", encoding="utf8")
        self.nbs, self.lib = (self.root / config["DEFAULT"][k] for k in ("nbs_path", "lib_path"))
        self.rooms = {}
        for path in sorted(self.nbs.glob("*.ipynb")):
            name = re.search(r"#\| default_exp (\w+)", "\n".join(source for _, source in self.cells(path)))
            if name:
                self.rooms[name[1]] = path

    def cells(self, path):
        cells = json.loads(path.read_text(encoding="utf8"))["cells"]
        return [(c.get("id"), "".join(c["source"])) for c in cells if c["cell_type"] == "code"]

    def mutations(self, room):
        "Every mutation of a room."
        path = self.rooms[room]
        for cell, source in self.cells(path):
            if not EXPORTED.search(source):
                continue
            lines = source.splitlines()
            for line, after, kind, function in of_cell(source):
                yield Mutation(room, path.name, cell, function, line, lines[line], after, kind)

    def targets(self):
        "What can be run: notebooks and test files. The pages of the site are no business of a mutation."
        tests = [p for p in sorted((self.root / "tests").glob("test_*.py")) if p.stem not in NOT_ASKED]
        return [p.relative_to(self.root).as_posix() for p in [*sorted(self.nbs.glob("[!_]*.ipynb")), *tests]]

    def state(self, target):
        "What the result of an unmutated run of `target` depends on."
        files = [self.root / name for name in (target, "conftest.py", "pytest.ini")]
        files += sorted([*self.lib.glob("*.py"), *self.nbs.glob("*.py")])
        parts = [p.read_bytes() for p in files if p.exists()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]

    def copy(self, to):
        "The files that git knows, or would know; without git, all but what tools leave behind."
        shutil.rmtree(to, ignore_errors=True)
        if not (self.root / ".git").exists():
            left_behind = shutil.ignore_patterns(".*cache*", "__pycache__", ".hypothesis")
            return shutil.copytree(self.root, to, ignore=left_behind)
        command = ["git", "ls-files", "-coz", "--exclude-standard"]
        listed = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (self.root / name).is_file():
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.root / name, to / name)


def written(checkout, mutation):
    "The texts of the notebook and of the module with this mutation in them, by path relative to the root."
    path = checkout.nbs / mutation.notebook
    nb = json.loads(path.read_text(encoding="utf8"))
    cell = next(c for c in nb["cells"] if c.get("id") == mutation.cell)
    lines = "".join(cell["source"]).splitlines()
    assert lines[mutation.line] == mutation.before, "the notebook is another one"
    directives = sum(line.startswith("#|") for line in lines[: mutation.line])
    lines[mutation.line] = mutation.after
    cell["source"] = "\n".join(lines)
    module = checkout.lib / f"{mutation.room}.py"
    text = module.read_text(encoding="utf8").splitlines()
    markers = [i for i, t in enumerate(text) if t.startswith("# %%") and t.endswith(f"#{mutation.cell}")]
    at = markers[0] + 1 + mutation.line - directives if markers else -1
    if not markers or text[at] != mutation.before:
        raise SystemExit(f"{module.name} is not what {path.name} exports: run nbdev_export first.")
    text[at] = mutation.after
    names = [p.relative_to(checkout.root).as_posix() for p in (path, module)]
    return dict(zip(names, [json.dumps(nb, ensure_ascii=False), "\n".join(text) + "\n"]))


# ---- runs: a child of this process for each, which has torch in memory already ----


def preload(checkout):
    "Import what library, notebooks and tests import, but nothing of the checkout: children begin with it."
    sources = [p.read_text(encoding="utf8") for p in sorted(checkout.lib.glob("*.py"))]
    cells = [source for path in checkout.rooms.values() for _, source in checkout.cells(path)]
    tests = [p.read_text(encoding="utf8") for p in sorted((checkout.root / "tests").glob("*.py"))]
    names = {"pytest", "execnb.shell"}
    for source in [*sources, *cells, *tests]:
        with suppress(SyntaxError):
            for node in ast.parse(source).body:
                if isinstance(node, ast.Import):
                    names |= {a.name for a in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add(node.module)
    runpy.run_path(str(checkout.root / "conftest.py"))  # its environment variables
    ours = {checkout.lib.name} | {p.stem for p in checkout.nbs.glob("*.py")}
    for name in sorted(names):
        if name.split(".")[0] in ours:
            continue
        with warnings.catch_warnings(), suppress(ImportError):
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as nothing, open(os.devnull, "w") as null, redirect_stdout(null):
        sys.modules["pytest"].main(["-q", "-c", os.devnull, "--rootdir", nothing, nothing])  # its plugins
    sys.modules["IPython.core.pylabtools"].print_figure = lambda *args, **kwargs: ""  # no time for pictures
    assert not ours & set(sys.modules)


class Watch:
    "A plugin of pytest: the first test that failed, and why."

    failed = error = None

    def pytest_exception_interact(self, node, call, report):
        if self.failed is None and report.failed:
            self.failed, self.error = node.nodeid, call.excinfo.typename


class Called(ast.NodeTransformer):
    "Makes the functions of a module tell that they are called, the outermost ones and methods."

    def __init__(self):
        self.classes = []

    def visit_ClassDef(self, node):
        self.classes.append(node.name)
        self.generic_visit(node)
        self.classes.pop()
        return node

    def visit_FunctionDef(self, node):
        at = 1 if ast.get_docstring(node) is not None else 0
        name = ".".join([*self.classes, node.name])
        tell = ast.parse(f"__called__(__name__, {name!r})").body[0]
        for part in ast.walk(tell):
            ast.copy_location(part, node.body[0])
        node.body.insert(at, tell)
        return node


class TellingLoader(SourceFileLoader):
    "Imports a module so that its functions tell; its file and its lines are as they were."

    def source_to_code(self, data, path, *, _optimization=-1):
        tree = Called().visit(ast.parse(data))
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimization)


class Telling(PathFinder):
    "Finds the modules of the package `lib`, and has them tell."

    lib = ""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname.split(".")[0] != cls.lib:
            return None
        spec = super().find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = TellingLoader(fullname, spec.origin)
        return spec


def look(lib):
    "From now on: which functions of the package are called, and whether processes are started."
    called, starts = set(), []
    builtins.__called__ = lambda module, function: called.add((module.split(".")[-1], function))
    Telling.lib = lib
    sys.meta_path.insert(0, Telling)
    processes = ("subprocess.Popen", "os.posix_spawn", "os.exec")
    sys.addaudithook(lambda event, args: starts.append(event) if event in processes else None)
    return called, starts


def run_target(place, lib, target, cpu, out):
    """In a child: pytest on a notebook or file of the copy `place` until something fails; sends what it saw.

    After `cpu` seconds of work it is killed; None: it works as long as it likes, and tells what it calls."""
    os.setsid()
    if cpu:
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(cpu), math.ceil(cpu) + 5))
    log = os.open(str(place.parent / f"{place.name}.log"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    temporary = place.parent / f"{place.name}-tmp"
    temporary.mkdir(exist_ok=True)
    os.environ.update(
        PYTHONPATH=str(place),
        TMPDIR=str(temporary),
        PYTHONDONTWRITEBYTECODE="1",
        HYPOTHESIS_STORAGE_DIRECTORY=str(temporary / "hypothesis"),
    )
    sys.dont_write_bytecode, tempfile.tempdir = True, None
    os.chdir(place)
    sys.path.insert(0, str(place))
    import pytest

    watch = Watch()
    called, starts = ((), ()) if cpu else look(lib)
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header", "--tb=short"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # plugins are in memory already
    if find_spec("hypothesis"):
        options.append("--hypothesis-seed=0")
    try:
        code = int(pytest.main([*options, target], plugins=[watch]))
    except BaseException as e:
        code, watch.error = 3, type(e).__name__
        traceback.print_exc()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    said = {"code": code, "failed": watch.failed, "error": watch.error}
    said |= {"called": sorted(called), "starts": bool(starts)}
    said["cpu"] = sum(u.ru_utime + u.ru_stime for u in used)
    out.send(said)
    os._exit(0)  # nothing that a test left behind holds this up


class Pool:
    "Runs examinations, a few at a time: generators that yield (target, cpu, limit) and get the outcome."

    def __init__(self, checkout, folder, jobs):
        self.lib, self.context = checkout.lib.relative_to(checkout.root).as_posix(), get_context("fork")
        self.places = [folder / f"copy{i}" for i in range(jobs)]
        for place in self.places:
            checkout.copy(place)

    def start(self, place, examination, outcome=None):
        "Advance an examination to its next run; None where it is finished."
        try:
            target, cpu, limit = examination.send(outcome)
        except StopIteration:
            return None
        here, there = self.context.Pipe(duplex=False)
        child = self.context.Process(target=run_target, args=(place, self.lib, target, cpu, there))
        child.start()
        there.close()
        began = time.monotonic()
        return dict(child=child, pipe=here, began=began, limit=limit, place=place, examination=examination)

    def outcome(self, run, hangs):
        "What the child said; a child that hangs, or that ends without a word, has noticed something."
        said = None
        with suppress(EOFError, OSError):
            if not hangs and run["pipe"].poll():
                said = run["pipe"].recv()
        if said is None and not hangs:
            run["child"].join(10)
        hangs = hangs or run["child"].exitcode == -signal.SIGXCPU
        self.stop(run)
        error = "hangs" if hangs else "the process ended"
        return said or dict(code=9, failed=None, error=error, called=[], starts=False, cpu=0.0)

    def stop(self, run):
        for kill in (lambda: os.killpg(run["child"].pid, signal.SIGKILL), run["child"].kill):
            with suppress(ProcessLookupError, PermissionError):
                kill()
        run["child"].join()
        run["pipe"].close()
        shutil.rmtree(run["place"].parent / f"{run['place'].name}-tmp", ignore_errors=True)

    def work(self, examinations):
        "Each of `examinations` is called with the folder of its copy and gives a generator."
        waiting, free, running = list(examinations)[::-1], list(self.places), []
        try:
            while waiting or running:
                while waiting and free:
                    place = free.pop()
                    run = self.start(place, waiting.pop()(place))
                    if run:
                        running.append(run)
                    else:
                        free.append(place)
                first = min([r["began"] + r["limit"] for r in running], default=0.0)
                connection.wait([r["pipe"] for r in running], max(0.0, first - time.monotonic()))
                for r in list(running):
                    hangs = time.monotonic() > r["began"] + r["limit"]
                    if not (hangs or r["pipe"].poll()):
                        continue
                    running.remove(r)
                    following = self.start(r["place"], r["examination"], self.outcome(r, hangs))
                    if following:
                        running.append(following)
                    else:
                        free.append(r["place"])
        finally:
            for r in running:
                self.stop(r)


# ---- examinations ----


class Measure:
    "What each target does when nothing is broken: its work, functions called; kept by the state of the code."

    def __init__(self, checkout, file):
        self.checkout, self.file = checkout, file
        self.known = json.loads(file.read_text()) if file.exists() else {}

    def fresh(self, target):
        return self.known.get(target, {}).get("state") == self.checkout.state(target)

    def examine(self, target):
        def examination(place):
            seen = yield target, None, 3600
            passes = seen["code"] in (0, 5)
            called = sorted({f"{room}:{name}" for room, name in seen["called"]})
            known = {"state": self.checkout.state(target), "passes": passes, "called": called}
            self.known[target] = known | {"cpu": seen["cpu"], "starts": seen["starts"]}
            self.file.write_text(json.dumps(self.known))
            fails = "" if passes else f"  fails as it is, and is left out: {seen['failed'] or seen['error']}"
            print(f"{seen['cpu']:6.1f} s  {target}{fails}", flush=True)

        return examination

    def passes(self, target):
        return self.known[target]["passes"]

    def limits(self, target):
        "Seconds of work, and by the clock, after which a run is said to hang."
        return 3 * self.known[target]["cpu"] + 10, 30 * self.known[target]["cpu"] + 200

    def users(self, mutation, owner):
        "Targets that call the mutated function (a line outside of functions: its room), cheapest first."

        def uses(known):
            rooms = {name.split(":")[0] for name in known["called"]}
            exact = f"{mutation.room}:{mutation.function}" in known["called"]
            return exact or known["starts"] or not mutation.function and mutation.room in rooms

        found = [t for t, k in self.known.items() if t != owner and k["passes"] and uses(k)]
        return sorted(found, key=lambda t: self.known[t]["cpu"])


def examiner(checkout, measure, mutation, own, tell):
    "The owning notebook first, then whatever uses the line, until something fails."
    owner = f"{checkout.nbs.relative_to(checkout.root).as_posix()}/{mutation.notebook}"

    def examination(place):
        texts = written(checkout, mutation)
        for name, text in texts.items():
            (place / name).write_text(text, encoding="utf8")
        result, began = dict(asdict(mutation), name=mutation.name, by=None), time.monotonic()
        for target in [owner] + ([] if own else measure.users(mutation, owner)):
            seen = yield target, *measure.limits(target)
            if seen["code"] in (0, 5):
                continue
            by = "owner" if target == owner else "rest"
            result.update(by=by, where=seen["failed"] or target, error=seen["error"])
            break
        for name in texts:
            shutil.copyfile(checkout.root / name, place / name)
        tell({**result, "own": own, "seconds": round(time.monotonic() - began, 1)})

    return examination


def chosen(checkout, rooms, n, seed):
    "Random mutations: every line once before any line comes again."
    rng, lines = random.Random(seed), defaultdict(list)
    for room in rooms:
        for m in checkout.mutations(room):
            lines[m.room, m.cell, m.line].append(m)
    for place in sorted(lines):
        rng.shuffle(lines[place])
    found = []
    while len(found) < n and lines:
        places = sorted(lines)
        rng.shuffle(places)
        for place in places:
            found.append(lines[place].pop())
        lines = {place: left for place, left in lines.items() if left}
    return found[:n]


def equivalents(root):
    "Reasons by (room, line before, line after)."
    file = root / ".ci" / "equivalent.json"
    listed = json.loads(file.read_text(encoding="utf8")) if file.exists() else []
    return {(e["room"], e["before"], e["after"]): e["because"] for e in listed}


def report(results):
    "The table by rooms, and the survivors."
    rooms = defaultdict(list)
    for r in results:
        rooms[r["room"]].append(r)
    titles = ("room", "mutations", "equivalent", "own notebook", "rest", "survivors", "noticed")
    line = "{:14}{:>10}{:>12}{:>14}{:>6}{:>11}{:>9}".format
    print("\n" + line(*titles))
    for room, them in [*sorted(rooms.items()), ("all", results)]:
        count = {k: sum(r["by"] == k for r in them) for k in ("equivalent", "owner", "rest", None)}
        real = len(them) - count["equivalent"]
        share = f"{100 * (real - count[None]) / real:.1f} %" if real else "—"
        print(line(room, len(them), *count.values(), share))
    hung = sum(r.get("error") == "hangs" for r in results)
    print(f"{hung} noticed by their time: over three times the work of the unbroken run and 10 s")
    for r in results:
        if r["by"] is not None:
            continue
        print(f"\nsurvives: {r['notebook']} [{r['cell']}] {r['function']} ({r['kind']})")
        print(f"  - {r['before'].strip()}\n  + {r['after'].strip()}", flush=True)


class Results:
    "What is known of each mutation, in a file that grows by a line for each."

    def __init__(self, file):
        self.file = file
        self.known = {}
        for line in file.read_text(encoding="utf8").splitlines() if file.exists() else ():
            with suppress(ValueError):  # a line cut off when the run was killed
                result = json.loads(line)
                self.known[result["name"]] = result

    def tell(self, result):
        self.known[result["name"]] = result
        with self.file.open("a", encoding="utf8") as f:
            f.write(json.dumps(result, ensure_ascii=False) + "\n")
        done = {"owner": "noticed", "rest": "noticed elsewhere", None: "SURVIVES"}[result["by"]]
        what = f"{result['room']}: {result['after'].strip()[:90]}"
        print(f"{result['seconds']:6.1f} s  {done:18} {what}", flush=True)

    def open(self, mutation, own, again):
        "Is there something to find out, where `own` asks the owning notebook alone, `again` survivors again?"
        old = self.known.get(mutation.name)
        return old is None or old["by"] is None and (again or old["own"] and not own)


def examine(checkout, folder, results, todo, jobs, own):
    "Run what is to be found out, in copies of a copy: the checkout may change meanwhile."
    checkout.copy(folder / "whole")
    still = Checkout(folder / "whole")
    preload(still)
    pool, measure = Pool(still, folder, jobs), Measure(still, folder / "measured.json")
    owners = {still.rooms[m.room].relative_to(still.root).as_posix() for m in todo}
    targets = [t for t in still.targets() if t in owners or not own]
    pool.work([measure.examine(t) for t in targets if not measure.fresh(t)])
    if red := [t for t in owners if not measure.passes(t)]:
        sys.exit(f"{', '.join(red)} must pass before it is broken.")
    pool.work([examiner(still, measure, m, own, results.tell) for m in todo])


def main():
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--rooms", help="names of modules, with commas between; all of them if left out")
    parser.add_argument("--n", type=int, default=60, help="number of mutations")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--own", action="store_true", help="ask the owning notebook only")
    parser.add_argument("--survivors", action="store_true", help="examine those again that survived")
    parser.add_argument("--list", action="store_true", help="print the mutations, run nothing")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    parser.add_argument("--folder", type=Path, help="for copies and results; a temporary folder if left out")
    args = parser.parse_args()
    checkout = Checkout(args.root)
    rooms = args.rooms.split(",") if args.rooms else list(checkout.rooms)
    if unknown := [r for r in rooms if r not in checkout.rooms]:
        parser.error(f"no room {', '.join(unknown)}: there are {', '.join(checkout.rooms)}")
    mutations = chosen(checkout, rooms, args.n, args.seed)
    if args.list:
        for m in mutations:
            print(f"{m.room}: {m.function} ({m.kind})\n{m.shown}")
        return
    name = f"mutations-{hashlib.sha256(str(checkout.root).encode()).hexdigest()[:8]}"
    folder = args.folder or Path(tempfile.gettempdir()) / name
    folder.mkdir(parents=True, exist_ok=True)
    results, listed = Results(folder / "results.jsonl"), equivalents(checkout.root)
    same = {m.name for m in mutations if (m.room, m.before.strip(), m.after.strip()) in listed}
    todo = [m for m in mutations if m.name not in same and results.open(m, args.own, args.survivors)]
    if todo:
        examine(checkout, folder, results, todo, args.jobs, args.own)
    equivalent = {m.name: {**asdict(m), "by": "equivalent"} for m in mutations if m.name in same}
    report([(results.known | equivalent)[m.name] for m in mutations])


if __name__ == "__main__":
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    main()
