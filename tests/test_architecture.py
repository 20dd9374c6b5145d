"""The rules of docs/architecture.md as a gate: floors, rooms, sizes, names and what may happen at import.

The gate reads the source as text and is itself held against planted violations.
"""

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from headstudio.training import registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "headstudio"

FLOORS = {
    0: ("nn", "geometry", "errors", "progress", "cache", "storage", "video"),
    1: ("records", "heads", "render"),
    2: ("capture", "motion", "synth"),
    3: ("tracking", "texture", "training", "datasets", "protocols"),
    4: ("methods", "drivers", "encoders", "scan"),
    5: ("evaluation", "export", "report"),
    6: ("live",),
    7: ("cli",),
    8: ("__main__",),
}
BASE = {"errors", "progress", "cache", "storage", "video"}
"""Single modules that everybody may use."""
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
LONGEST_FILE, LONG_FILE, LONGEST_FUNCTION = 500, 300, 80
UNPICKLER = Path("heads/flame/files.py")
"""The one file that may read a pickle: FLAME's own, admitting arrays only."""


@dataclass(frozen=True)
class Module:
    """One source file."""

    path: Path
    """Relative to the package."""
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        return self.path.parts[0].removesuffix(".py")


def modules() -> list[Module]:
    return [Module(p.relative_to(PACKAGE), p.read_text(encoding="utf-8")) for p in sorted(PACKAGE.rglob("*.py"))]


def imported_rooms(module: Module) -> set[str]:
    """Rooms a module imports from, wherever in the file it does."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("headstudio."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "headstudio":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("headstudio.")}
    return found - {"__version__"}


def upward(module: Module) -> Iterator[str]:
    if module.room == "__init__":
        return
    here = FLOOR_OF.get(module.room)
    if here is None:
        yield f"{module.path}: the room {module.room} stands on no floor"
        return
    for room in sorted(imported_rooms(module) - {module.room} - BASE):
        there = FLOOR_OF.get(room)
        if there is None or there >= here:
            yield f"{module.path}: floor {here} imports {room} of floor {there}"


def relative_imports(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{module.path}:{node.lineno}: relative import"


def method_names(module: Module) -> Iterator[str]:
    if module.room in ("methods", "drivers", "encoders", "cli"):
        return
    named = {point.value.split(":")[1] for kind in registry.KINDS for point in registry.registered(kind).values()}
    named |= {name for kind in registry.KINDS for name in registry.registered(kind)}
    for node in ast.walk(module.tree):
        mentioned = {
            ast.Name: lambda n: n.id,
            ast.Attribute: lambda n: n.attr,
            ast.Constant: lambda n: n.value if isinstance(n.value, str) else "",
        }.get(type(node), lambda n: "")(node)
        if mentioned in named:
            yield f"{module.path}:{node.lineno}: mentions {mentioned}"


def forbidden_calls(module: Module) -> Iterator[str]:
    allowed = {"print"} if module.room in ("cli", "__main__") else set()
    for node in ast.walk(module.tree):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if called in {"eval", "exec", "compile", "__import__", "print"} - allowed:
            yield f"{module.path}:{node.lineno}: calls {called}"
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{module.path}:{node.lineno}: bare except"


def pickles(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            loads = owner in ("pickle", "dill", "joblib", "marshal", "shelve") and node.func.attr in ("load", "loads")
            torch_load = owner == "torch" and node.func.attr == "load"
            safe = any(k.arg == "weights_only" and getattr(k.value, "value", None) is True for k in node.keywords)
            if loads or (torch_load and not safe):
                yield f"{module.path}:{node.lineno}: {owner}.{node.func.attr} executes what it reads"
        bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
        if module.path != UNPICKLER and any(base.endswith("Unpickler") for base in bases):
            yield f"{module.path}:{node.lineno}: an unpickler of its own"


def posix_only(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if {"fcntl", "resource", "pwd", "grp", "termios"} & {n.split(".")[0] for n in names}:
                yield f"{module.path}:{node.lineno}: exists on POSIX only"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.fork", "os.getuid", "signal.SIGKILL"):
            yield f"{module.path}:{node.lineno}: {ast.unparse(node)} exists on POSIX only"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/tmp"):
            yield f"{module.path}:{node.lineno}: /tmp exists on POSIX only"


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def long_functions(module: Module) -> Iterator[str]:
    for function in functions(module.tree):
        lines = function.end_lineno - function.lineno + 1
        if lines > LONGEST_FUNCTION:
            yield f"{module.path}:{function.lineno}: {function.name} has {lines} lines"


def undocumented(module: Module) -> Iterator[str]:
    if ast.get_docstring(module.tree) is None:
        yield f"{module.path}: the module has no docstring"
    for node in _public(module.tree.body):
        if ast.get_docstring(node) is None:
            yield f"{module.path}:{node.lineno}: {node.name} has no docstring"


def untyped(module: Module) -> Iterator[str]:
    for node in _public(module.tree.body):
        for function in [node] if isinstance(node, ast.FunctionDef) else _public(node.body):
            if not isinstance(function, ast.FunctionDef) or _is_kernel(function):
                continue
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            if bare or function.returns is None:
                yield f"{module.path}:{function.lineno}: {function.name} is not typed ({', '.join(bare) or 'result'})"


def _public(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.ClassDef]:
    return [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]


def _is_kernel(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(d).startswith("wp.") for d in function.decorator_list)


def touched_at_import(module: Module) -> Iterator[str]:
    """Calls in the module's own body that reach for a device, the network or the working directory."""
    reaching = ("cuda", "urlopen", "urlretrieve", "requests", "cwd", "getcwd", "chdir", "open", "read_text", "mkdir")
    for statement in module.tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) or _main_guard(statement):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and set(ast.unparse(node.func).split(".")) & set(reaching):
                yield f"{module.path}:{node.lineno}: {ast.unparse(node.func)} runs at import"


def _main_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test)


GATES = (
    upward,
    relative_imports,
    method_names,
    forbidden_calls,
    pickles,
    posix_only,
    long_functions,
    undocumented,
    untyped,
    touched_at_import,
)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)
def test_the_source_passes(gate):
    assert [violation for module in modules() for violation in gate(module)] == []


def test_no_file_is_too_long():
    lengths = {str(module.path): module.text.count("\n") for module in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= LONG_FILE


def test_every_room_stands_on_a_floor():
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms - FLOOR_OF.keys() == set()
    assert {
        room for room in FLOOR_OF if not (PACKAGE / room).exists() and not (PACKAGE / f"{room}.py").exists()
    } == set()


PLANTED = {
    upward: [
        ("render/a.py", "from headstudio.training.stages import Stage"),
        ("tracking/a.py", "def f():\n    import headstudio.texture.fill"),
        ("records/a.py", "from headstudio import cli"),
        ("nn/a.py", "from headstudio.geometry.rigid import invert"),
        ("errors.py", "from headstudio.records.track import Track"),
        ("scrap/a.py", ""),
    ],
    relative_imports: [("nn/a.py", "from . import b")],
    method_names: [
        ("training/a.py", "isinstance(model, PlainToy)"),
        ("evaluation/a.py", "name == 'toy-latent'"),
        ("export/a.py", "methods.PlainToy"),
    ],
    forbidden_calls: [
        ("nn/a.py", "print(1)"),
        ("records/a.py", "eval(text)"),
        ("cli/a.py", "exec(text)"),
        ("nn/a.py", "try:\n    f()\nexcept:\n    pass"),
    ],
    pickles: [
        ("heads/flame/files.py", "pickle.load(file)"),
        ("nn/a.py", "torch.load(path)"),
        ("nn/a.py", "torch.load(path, weights_only=False)"),
        ("nn/a.py", "class Reader(pickle.Unpickler):\n    pass"),
    ],
    posix_only: [("nn/a.py", "import fcntl"), ("nn/a.py", "os.fork()"), ("nn/a.py", "Path('/tmp/x')")],
    long_functions: [("nn/a.py", "def f():\n" + "    x = 1\n" * 80)],
    undocumented: [("nn/a.py", "'''Module.'''\ndef f() -> None: ..."), ("nn/a.py", "x = 1")],
    untyped: [
        ("nn/a.py", "def f(x) -> int: ..."),
        ("nn/a.py", "def f(x: int): ..."),
        ("nn/a.py", "class A:\n    def f(self, x): ..."),
    ],
    touched_at_import: [
        ("nn/a.py", "DEVICE = torch.cuda.is_available()"),
        ("nn/a.py", "HERE = Path.cwd()"),
        ("nn/a.py", "TEXT = open('x').read()"),
    ],
}


@pytest.mark.parametrize(
    ("gate", "path", "text"),
    [(gate, path, text) for gate, planted in PLANTED.items() for path, text in planted],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_gate_finds_what_was_planted(gate, path, text):
    assert list(gate(Module(Path(path), text)))


def test_every_gate_has_something_planted():
    assert PLANTED.keys() == set(GATES)


HEAVY = ("torch", "numpy", "mediapipe", "cv2", "warp", "av", "scipy", "tyro", "rich", "PIL", "lightning_fabric")


@pytest.mark.parametrize("code", ["import headstudio", "from headstudio.cli.main import main; main(['--help'])"])
def test_import_and_help_load_nothing_heavy(code, tmp_path):
    report = f"{code}; import sys; print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert run.stderr.strip() == "[]"


@pytest.mark.slow
def test_importing_everything_touches_no_gpu_no_network_and_no_file_here(tmp_path):
    names = [".".join(("headstudio", *module.path.with_suffix("").parts)) for module in modules()]
    code = f"""
import importlib, os, socket, sys
def refuse(*_, **__): raise AssertionError("network at import")
socket.socket.connect = refuse
for name in {[name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]!r}:
    importlib.import_module(name)
import torch
assert not torch.cuda.is_initialized(), "CUDA at import"
assert "mediapipe" not in sys.modules and "av" not in sys.modules, "a heavy reader at import"
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert list(tmp_path.iterdir()) == []
