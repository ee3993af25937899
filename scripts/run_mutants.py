"""Change one thing at a time in trading's rooms, and see whether a test notices: `make mutants`.

    .venv/bin/python scripts/run_mutants.py [--most 40] [--seed 1] [MODULE...]

A module is named as below (`decision/desk`), or by a beginning of it (`risk`). Mutants are cosmic-ray's, and three of our
own (a statement left out, nothing returned, a text changed); up to `--most` a module are drawn by the seed. Annotations,
decorators, docstrings and log lines are left alone: they change no behaviour that trading has. Each mutant is tried on a
copy of the tree, first by the tests that need no engine, then by the module's own with PostgreSQL. A table of alive and
tried goes to stdout, each that lived with its line to stderr; what lives is equivalent, or owes a test.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRADING = Path("torghut_core/trading")
TESTS = Path("tests/torghut_core/trading")
_SECONDS = 120
_LOGGING = ("event(", "_LOG")
_ENGINE_TESTS = {
    "leadership": ("test_leadership", "test_order_path", "test_stops"),
    "orders/reconcile": ("test_reconcile", "test_order_path"),
}
"""Modules that stand on PostgreSQL, and their tests with it."""
_PURE_TESTS = {
    "decision/book": ("test_book", "test_sizing", "test_risk"),
    "decision/caps": ("test_caps", "test_sizing"),
    "decision/desk": ("test_desk",),
    "decision/emergency": ("test_losses",),
    "decision/exits": ("test_exits",),
    "decision/intents": ("test_intents",),
    "decision/losses": ("test_losses",),
    "decision/quote": ("test_quote",),
    "decision/sizing": ("test_sizing", "test_no_cap_is_passed"),
    "decision/terms": ("test_terms",),
    "review/policy": ("test_review_policy", "test_settings"),
    "orders/ledger": ("test_ledger",),
    "orders/pacing": ("test_pacing",),
    "leadership": (),
    "orders/reconcile": (),
    "risk": ("test_risk", "test_no_cap_is_passed"),
}
"""Each module's own tests; a gate's are those of all."""
_PURE = "not engine and not slow"
_REUSED = "REUSED_POSTGRES"
_SERVER = """
import sys, tempfile
from torghut_core.engines.postgres import open_postgres
from torghut_core.trading.store.schema import migrate
with tempfile.TemporaryDirectory(prefix="torghut-mutants-pg-", ignore_cleanup_errors=True) as folder:
    server = open_postgres(f"embedded:{folder}/pg")
    migrate(server)
    print(server.dsn, flush=True)
    sys.stdin.read()
    server.close()
"""
MODULES = (
    *(name for name in _PURE_TESTS if name not in ("risk", *_ENGINE_TESTS)),
    *(f"risk/{path.stem}" for path in sorted((ROOT / TRADING / "risk").glob("*.py"))),
    *_ENGINE_TESTS,
)


@dataclass(frozen=True)
class Mutant:
    """One changed source, and where."""

    name: str
    line: int
    source: str


def mutants(source: str) -> list[Mutant]:
    """Return every one-change variant of a module, but those that only change what is left alone."""
    left_alone = _left_alone(source)
    found = [*_ours(source), *_cosmic_ray(source)]
    seen = {_shape(source)}
    kept: list[Mutant] = []
    for mutant in found:
        if mutant.line in left_alone:
            continue
        with warnings.catch_warnings(), suppress(SyntaxError):
            warnings.simplefilter("ignore")
            shape = _shape(mutant.source)
            if shape not in seen:
                seen.add(shape)
                kept.append(mutant)
    return kept


def _shape(source: str) -> str:
    """Return what a module does: its syntax without types."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Name("_")
    return ast.dump(tree)


def _left_alone(source: str) -> set[int]:
    """Return the lines of annotations, decorators and logging, as far as nothing else stands on them."""
    lines = source.splitlines()
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found |= {line for item in node.decorator_list for line in range(item.lineno, (item.end_lineno or 0) + 1)}
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= set(range(node.lineno, max(node.lineno + 1, node.body[0].lineno)))
        if isinstance(node, ast.AnnAssign) and node.value is None:
            found |= set(range(node.lineno, (node.end_lineno or 0) + 1))
        if isinstance(node, ast.Expr) and lines[node.lineno - 1].strip().startswith(_LOGGING):
            found |= set(range(node.lineno, (node.end_lineno or 0) + 1))
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Assert):
            found |= set(range(node.lineno, (node.end_lineno or 0) + 1))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and node.col_offset == 0:
            found |= set(range(node.lineno, (node.end_lineno or 0) + 1))  # an alias of a type
        if isinstance(node, ast.Assign) and lines[node.lineno - 1].startswith("_LOG"):
            found.add(node.lineno)
    return found


def _ours(source: str) -> Iterator[Mutant]:
    docstrings = {
        node.body[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body
    }
    positions = {(item.lineno, item.col_offset) for item in docstrings if isinstance(item, ast.Expr)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            positions.add((node.lineno, node.col_offset))
        if isinstance(node, ast.JoinedStr):
            positions |= {(n.lineno, n.col_offset) for n in ast.walk(node) if isinstance(n, ast.Constant)}
    for node in ast.walk(ast.parse(source)):
        at = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
        if at in positions:
            continue
        if isinstance(node, ast.Return) and node.value is not None:
            yield _replaced(source, node, "return None", "nothing returned")
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.Raise | ast.Expr):
            yield _replaced(source, node, "pass", "left out")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
            yield _replaced(source, node, repr(f"{node.value}~"), "text changed")


def _replaced(source: str, node: ast.stmt | ast.expr, text: str, name: str) -> Mutant:
    lines = source.encode().splitlines(keepends=True)
    assert node.end_lineno is not None and node.end_col_offset is not None
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    return Mutant(f"{name}: line {node.lineno}", node.lineno, (before + text.encode() + after).decode())


def _cosmic_ray(source: str) -> Iterator[Mutant]:
    import cosmic_ray.plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    tree = get_ast(source)
    for name in sorted(cosmic_ray.plugins.operator_names()):
        # Identity of values that are equal is no rule of ours, and a message is the same with another cause.
        if (
            (name.endswith(("_Is", "_IsNot")) and "Operator_Is" not in name)
            or "Exception" in name
            or "Decorator" in name
        ):
            continue
        kind = cosmic_ray.plugins.get_operator(name)
        if kind.arguments():
            continue
        starts = [start for node in ast_nodes(tree) for start, _ in kind().mutation_positions(node)]
        for occurrence, (line, _) in enumerate(starts):
            changed = mutate_code(source, kind(), occurrence)
            if changed is not None:
                yield Mutant(f"{name.removeprefix('core/')}: line {line}", line, changed)


def _copy(folder: Path) -> None:
    for name in ("torghut_core", "torghutctl", "tests", "agentruns", "manifests", "runbooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)


def _dies(folder: Path, tests: tuple[str, ...], mark: str) -> bool:
    """Run tests in a process of its own that has the libraries loaded; tell whether they failed or never ended."""
    if not tests:
        return False
    paths = [str(TESTS / f"{name}.py") for name in tests if (folder / TESTS / f"{name}.py").exists()]
    child = os.fork()
    if child == 0:
        try:
            _run_tests(folder, paths, mark)
        finally:
            os._exit(1)  # whatever was raised: the folder and the server are the parent's to end
    ends = time.monotonic() + _SECONDS
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) not in (0, 5)
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _run_tests(folder: Path, paths: list[str], mark: str) -> None:
    os.setsid()
    os.chdir(folder)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.dont_write_bytecode = True
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--assert=plain"]
    options += ["-m", f"({mark}) and not soak and not e2e", "--timeout", str(_SECONDS), "--rootdir", str(folder)]
    os._exit(int(pytest.main([*options, *paths])))


def _pure(module: str) -> tuple[str, ...]:
    return _PURE_TESTS["risk" if module.startswith("risk/") else module]


def _try(module: str, folder: Path, *, most: int, seed: int) -> tuple[int, int, int]:
    path = folder / TRADING / f"{module}.py"
    source = path.read_text()
    known = mutants(source)
    chosen = random.Random(f"{seed}:{module}").sample(known, min(most, len(known)))
    alive = 0
    try:
        for mutant in sorted(chosen, key=lambda item: item.line):
            path.write_text(mutant.source)
            if _dies(folder, _pure(module), _PURE) or (
                module in _ENGINE_TESTS and _dies(folder, _ENGINE_TESTS[module], "engine")
            ):
                continue
            alive += 1
            before, after = source.splitlines(), mutant.source.splitlines()
            line = after[mutant.line - 1].strip() if mutant.line <= len(after) else ""
            print(
                f"alive {module}: {mutant.name}: {before[mutant.line - 1].strip()}  =>  {line}",
                file=sys.stderr,
                flush=True,
            )
    finally:
        path.write_text(source)
    return alive, len(chosen), len(known)


def _table(modules: list[str], folder: Path, needed: tuple[str, ...], *, most: int, seed: int) -> int:
    pure = tuple(sorted({test for module in modules for test in _pure(module)}))
    if _dies(folder, pure, _PURE) or _dies(folder, needed, "engine"):
        print("the tests fail without any change", file=sys.stderr)
        return 1
    print("| module | alive | tried | of |\n|---|---|---|---|", flush=True)
    total = [0, 0]
    for module in modules:
        alive, tried, of = _try(module, folder, most=most, seed=seed)
        total = [total[0] + alive, total[1] + tried]
        print(f"| {module} | {alive} | {tried} | {of} |", flush=True)
    print(f"| all | {total[0]} | {total[1]} | |")
    return 0


@contextmanager
def _postgres() -> Iterator[None]:
    """Run one migrated PostgreSQL for all mutants, in a process of its own: none of ours is loaded here."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None and server.stdout is not None
    try:
        os.environ[_REUSED] = server.stdout.readline().strip()
        yield
    finally:
        server.stdin.close()
        server.wait()


def main() -> int:
    """Try the mutants and print the table. Ends with 1 when the tests fail without any change."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("modules", nargs="*", help="modules, or beginnings of their names; all without")
    parser.add_argument("--most", type=int, default=40, help="mutants a module, at most")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    modules = [name for name in MODULES if not chosen.modules or name.startswith(tuple(chosen.modules))]
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in (ROOT, ROOT / "scripts")]
    for name in (
        "pytest",
        "hypothesis",
        "httpx",
        "psycopg",
        "pydantic",
        "alembic",
        "fastapi",
        "websockets.asyncio.client",
    ):
        __import__(name)
    with tempfile.TemporaryDirectory(prefix="torghut-mutants-") as name:
        folder = Path(name)
        _copy(folder)
        needed = tuple(sorted({test for module in modules for test in _ENGINE_TESTS.get(module, ())}))
        with _postgres() if needed else nullcontext():
            return _table(modules, folder, needed, most=chosen.most, seed=chosen.seed)


if __name__ == "__main__":
    sys.exit(main())
