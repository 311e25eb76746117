"""Figures about the tree of a checkout, as a Markdown table: entries, arrows, circles, lines.

    python scripts/measure_house.py                    this checkout, read from the source text
    python scripts/measure_house.py ../older           another one, whatever its folders are called
    python scripts/measure_house.py --trace --types    also what one run enters, and strict types

An entry is a file or a folder of Python at the top of the package. An arrow is an ordered pair of
entries of which the first imports something of the second, lazily and for type checkers too. A
circle is a group of modules (or of entries) that reach each other by imports. Imports by computed
names (`import_module`) are not seen, nor that importing `a.b` runs `a/__init__.py`.

The one thing a reader would get wrong: `--trace` counts functions and methods by their code, from
the end of `import trajectorycrafter.cli` on. Lambdas, comprehensions, generator expressions, bodies
of classes and of modules, and what dataclasses generate are left out. Nine frames of the demo clip
enter the same functions as all of them.
"""

import argparse
import ast
import inspect
import json
import os
import subprocess
import sys
import tempfile
import threading
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

PACKAGE = "trajectorycrafter"
NO_PRODUCT = {"lab", "studio", "samples", "curation", "training", "synthetic", "evaluation"}
"""Rooms beside the product; the last five are where older trees have what `lab` holds."""
PRAGMAS = ("type:", "noqa", "fmt:", "pyright:", "!")
LONG = 60
"""Lines of a function, from its `def` on, that are not yet too many."""
PARTS = ("src", "examples", "tests", "scripts")
UNKNOWN_TYPES = ["Argument", "Lambda", "Member", "Parameter", "Variable"]
NOT_OURS = ["MissingTypeStubs", "MissingImports", "MissingModuleSource", "PrivateImportUsage"]
"""Rules that other packages break, not this one."""
RUN = ["redirect", "demo", "--camera", "orbit-right"]

Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = dict[str, set[str]]
Rows = Iterable[tuple[str, object]]


@dataclass(frozen=True)
class Module:
    """A file of the package."""

    path: Path
    name: str
    """Dotted, from the package's own name on; that of the folder for an `__init__.py`."""

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]


def read(root: Path) -> dict[str, Module]:
    """All modules of the package by name."""
    found: dict[str, Module] = {}
    for path in sorted((root / "src" / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / "src").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(path, name)
    return found


def entry(name: str) -> str:
    """The top-level entry that a module lies in; empty for the package's own `__init__`."""
    return name.split(".")[1] if "." in name else ""


# ------------------------------------------------------------------------------- arrows, circles


def statements(tree: ast.Module, lazy: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements; without `lazy` those only that run when the module is imported."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not lazy and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif lazy or not isinstance(node, Function | ast.Lambda):
            todo += ast.iter_child_nodes(node)


def named(module: Module, node: ast.Import | ast.ImportFrom) -> list[str]:
    """What an import statement names, as absolute dotted names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    parts = module.name.split(".")
    package = parts if module.path.name == "__init__.py" else parts[:-1]
    base = package[: len(package) - node.level + 1] if node.level else []
    return [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]


def arrows(modules: dict[str, Module], lazy: bool = True) -> Graph:
    """The modules that each module imports."""
    graph: Graph = {name: set() for name in modules}
    for module in modules.values():
        for node in statements(module.tree, lazy):
            for name in named(module, node):
                while name and name not in modules:
                    name = name.rpartition(".")[0]
                if name and name != module.name:
                    graph[module.name].add(name)
    return graph


def between_entries(graph: Graph) -> Graph:
    """The same arrows from entry to entry."""
    found: Graph = {entry(name): set() for name in graph if entry(name)}
    for name, others in graph.items():
        if entry(name):
            found[entry(name)] |= {entry(other) for other in others} - {entry(name), ""}
    return found


def circles(graph: Graph) -> list[list[str]]:
    """The groups of more than one that reach each other, largest first."""

    def reached(start: str) -> set[str]:
        seen, todo = set[str](), [start]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reach = {name: reached(name) for name in graph}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other])) for name in graph
    }
    return sorted((list(group) for group in groups if len(group) > 1), key=lambda g: (-len(g), g))


def circle_rows(what: str, graph: Graph) -> Rows:
    found = circles(graph)
    names = "; ".join(", ".join(name.removeprefix(f"{PACKAGE}.") for name in c) for c in found)
    yield f"circles of {what}", f"{len(found)}: {names}" if found else 0


def import_rows(modules: dict[str, Module]) -> Rows:
    graph = arrows(modules)
    entries = between_entries(graph)
    yield "entries at the top of the package", len(entries)
    yield "arrows between entries", sum(map(len, entries.values()))
    yield from circle_rows("entries", entries)
    yield from circle_rows("modules, all imports", graph)
    yield from circle_rows("modules, imports at the top only", arrows(modules, lazy=False))


# ------------------------------------------------------------------------- lines, names, functions


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def line_rows(root: Path, modules: dict[str, Module]) -> Rows:
    rooms: Counter[str] = Counter()
    for module in modules.values():
        rooms[entry(module.name) or "__init__"] += module.lines
    yield "Python files in the package", len(modules)
    yield "lines of the package", rooms.total()
    product = {room: lines for room, lines in rooms.items() if room not in NO_PRODUCT}
    yield "lines of the product", sum(product.values())
    yield "lines by entry", listed(rooms)
    for part in PARTS[1:]:
        texts = [path.read_text() for path in (root / part).rglob("*.py")]
        yield f"lines of {part}", sum(text.count("\n") for text in texts)


def comments(path: Path) -> int:
    """Comments for readers; what tools read does not count."""
    with tokenize.open(path) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    texts = [t.string.lstrip("#").strip() for t in tokens if t.type == tokenize.COMMENT]
    return sum(not text.startswith(PRAGMAS) for text in texts)


def text_rows(modules: dict[str, Module]) -> Rows:
    count = sum(comments(module.path) for module in modules.values())
    lines = sum(module.lines for module in modules.values())
    yield "comments per 100 lines", f"{100 * count / lines:.2f} ({count})"
    nodes = [node for module in modules.values() for node in ast.walk(module.tree)]
    classes = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    twice = Counter({name: count for name, count in classes.items() if count > 1})
    yield "class names defined twice or more", f"{len(twice)}: {listed(twice)}" if twice else 0


def function_rows(modules: dict[str, Module]) -> Rows:
    functions = [(m.name, f) for m in modules.values() for f in m.functions]
    private = [(name, f.name) for name, f in functions if f.name[0] == "_" and f.name[-2:] != "__"]
    called = calls(modules, set(private))
    once = sum(called[key] == 1 for key in private)
    yield (
        "private functions called exactly once",
        f"{once} of {len(private)} ({once / max(1, len(private)):.0%})",
    )
    long = sum((f.end_lineno or 0) - f.lineno + 1 > LONG for _, f in functions)
    yield "functions", len(functions)
    yield f"functions longer than {LONG} lines", long


def calls(modules: dict[str, Module], wanted: set[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Calls by name of functions (module, name): of the own module's, else of all so called."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for home, function in wanted:
        homes[function].append(home)
    found: Counter[tuple[str, str]] = Counter()
    for module in modules.values():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            own = (module.name, name) in wanted
            found.update((home, name) for home in ([module.name] if own else homes[name]))
    return found


# ------------------------------------------------------------------------------------ one run


def traced(arguments: list[str], report: Path) -> None:
    """Run a command in this process and write what it entered; for a process of its own."""
    import av

    opened: list[str] = []
    entered: dict[int, CodeType] = {}
    av_open = av.open

    def counted(file: Any, *rest: Any, **how: Any) -> Any:
        opened.append(str(file))
        return av_open(file, *rest, **how)

    def audit(event: str, values: tuple[Any, ...]) -> None:
        if event == "open":
            opened.append(str(values[0]))

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            entered[id(frame.f_code)] = frame.f_code

    av.open = counted
    from trajectorycrafter import cli

    folder = Path(cli.__file__).parent
    sys.addaudithook(audit)
    threading.setprofile(profile)
    sys.setprofile(profile)
    if code := cli.run(arguments):
        sys.exit(code)
    sys.setprofile(None)
    found = [
        [str(Path(c.co_filename).relative_to(folder)), c.co_qualname]
        for c in list(entered.values())
        if Path(c.co_filename).is_relative_to(folder)
        and c.co_flags & inspect.CO_OPTIMIZED
        and not c.co_name.startswith("<")
    ]
    clips = [name for name in opened if name.startswith(str(folder)) and name.endswith(".mp4")]
    report.write_text(json.dumps({"functions": found, "clips": clips}))


def trace_rows(root: Path, run: list[str]) -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        report, out = Path(folder) / "report.json", Path(folder) / "out"
        arguments = [*run, "--out", str(out)]
        here = Path(__file__).resolve()
        paths = os.pathsep.join([str(root / "src"), str(here.parent)])
        call = f"from {here.stem} import *; traced({arguments!r}, Path({str(report)!r}))"
        env = os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", call], env=env, stdout=subprocess.PIPE)
        if not report.exists():
            raise SystemExit(f"The run ended with code {done.returncode}.")
        found = json.loads(report.read_text())
    files = Counter(name for name, _ in found["functions"])
    yield f"functions that `{' '.join(run)}` enters", len(found["functions"])
    yield "files they are in", len(files)
    yield "times the clip is opened", len(found["clips"])


# -------------------------------------------------------------------------------------- types


def strict_errors(root: Path) -> list[tuple[str, int, str, str]]:
    """Path, line, rule, message: pyright's strict mode less its rules about unknown types."""
    off = [f"report{name}" for name in (*(f"Unknown{of}Type" for of in UNKNOWN_TYPES), *NOT_OURS)]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        settings = {
            "include": [os.path.relpath(root / part, base) for part in PARTS],
            "extraPaths": [str(root / "src"), str(root / "tests")],
            "pythonVersion": "3.11",
            "typeCheckingMode": "strict",
            **dict.fromkeys(off, "none"),
        }
        config = base / "pyrightconfig.json"
        config.write_text(json.dumps(settings))
        pyright = Path(sys.executable).with_name("pyright")
        command = [pyright, "--pythonpath", sys.executable, "--project", config, "--outputjson"]
        done = subprocess.run(command, capture_output=True, text=True)
    return sorted(
        (
            str(Path(found["file"]).relative_to(root)),
            found["range"]["start"]["line"] + 1,
            found.get("rule", "syntax"),
            " ".join(found["message"].split()),
        )
        for found in json.loads(done.stdout)["generalDiagnostics"]
        if found["severity"] == "error"
    )


def type_rows(errors: list[tuple[str, int, str, str]]) -> Rows:
    for part in PARTS:
        rules = Counter(rule for path, _, rule, _ in errors if Path(path).parts[0] == part)
        yield f"pyright strict, errors in {part}", f"{rules.total()}: {listed(rules)}".rstrip(": ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, nargs="?", default=Path(__file__).parents[1])
    parser.add_argument("--trace", action="store_true", help="run the demo, half a minute")
    parser.add_argument("--frames", default="9", help="of the traced run; default: %(default)s")
    parser.add_argument("--types", action="store_true", help="run pyright, about 2 min")
    parser.add_argument("--errors", type=Path, help="file for the list of the type errors")
    args = parser.parse_args()
    root: Path = args.root.resolve()
    modules = read(root)
    rows = [*import_rows(modules), *line_rows(root, modules), *text_rows(modules)]
    rows += function_rows(modules)
    if args.trace:
        rows += trace_rows(root, [*RUN, "--frames", args.frames])
    if args.types or args.errors:
        errors = strict_errors(root)
        rows += type_rows(errors)
        if args.errors:
            args.errors.write_text("".join(f"{p}:{n} {r} {m}\n" for p, n, r, m in errors))
    print("| measure | value |\n| --- | --- |")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
