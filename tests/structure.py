"""The structure in figures: `python -m tests.structure` prints modules, lines, code and imports by package.

A package's `__init__` is no module here. Imports of our own are counted by the module that defines what is imported: a
name that a package or another module hands on belongs to the module that it comes from. Code is every line but blank
ones, comments and docstrings.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.core.tables import markdown_table

ROOT = Path(__file__).parent.parent
PACKAGE, APP = "pipeline", "app"
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}


@dataclass(frozen=True)
class Source:
    """One file of the source: a module, or a package's `__init__`."""

    name: str
    path: Path

    @cached_property
    def text(self) -> str:
        """The file's text."""
        return self.path.read_text(encoding="utf-8")

    @property
    def lines(self) -> int:
        """All lines."""
        return len(self.text.splitlines())

    @property
    def code(self) -> int:
        """Lines that are not blank and hold more than a comment or a docstring."""
        rows = {
            row
            for token in tokenize.generate_tokens(io.StringIO(self.text).readline)
            if token.type not in NO_CODE
            for row in range(token.start[0], token.end[0] + 1)
        }
        for node in ast.walk(ast.parse(self.text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = node.body[0] if node.body and ast.get_docstring(node, clean=False) is not None else None
                rows -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1)) if docstring else set()
        return sum(bool(line.strip()) for row, line in enumerate(self.text.splitlines(), 1) if row in rows)


class Structure:
    """All modules of a package, and the app beside it, in the folder `root`."""

    def __init__(self, root: Path = ROOT) -> None:
        paths = [*sorted((root / PACKAGE).rglob("*.py")), *root.glob(f"{APP}.py")]
        self._sources = {_dotted(path.relative_to(root)): path for path in paths}

    @cached_property
    def modules(self) -> list[Source]:
        """The modules, without the packages' `__init__`."""
        return [Source(name, path) for name, path in self._sources.items() if path.name != "__init__.py"]

    def imports(self, module: Source) -> set[str]:
        """The other modules that this one imports, anywhere in it."""
        return {name for name in self._imports(module) if name != module.name}

    def _imports(self, module: Source) -> Iterator[str]:
        for node in ast.walk(ast.parse(module.text)):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if self._is_module(alias.name))
            elif isinstance(node, ast.ImportFrom):
                origin = _origin(node, module.name)
                yield from filter(self._is_module, (self.defining(origin, alias.name) for alias in node.names))

    def _is_module(self, name: str) -> bool:
        return name in self._sources and self._sources[name].name != "__init__.py"

    def defining(self, module: str, name: str) -> str:
        """The module that defines what `from module import name` gives, itself where that is a module."""
        if f"{module}.{name}" in self._sources or module not in self._sources:
            return f"{module}.{name}"
        path = self._sources[module]
        inside = f"{module}.__init__" if path.name == "__init__.py" else module
        stub = path.with_suffix(".pyi")
        for node in ast.parse((stub if stub.is_file() else path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    origin = _origin(node, inside)
                    if (alias.asname or alias.name) == name and origin.split(".")[0] in (PACKAGE, APP):
                        return self.defining(origin, alias.name)
        return module


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _origin(node: ast.ImportFrom, inside: str) -> str:
    """The module that is named, in full where it is relative to the module `inside`."""
    before = inside.split(".")[: -node.level] if node.level else []
    return ".".join([*before, *([node.module] if node.module else [])])


def table(structure: Structure) -> list[str]:
    """The figures by package and in all, as a table in Markdown."""
    by_package: dict[str, list[Source]] = {}
    for module in structure.modules:
        by_package.setdefault(module.name.rpartition(".")[0] or module.name, []).append(module)
    rows = [_row(structure, package, modules) for package, modules in sorted(by_package.items())]
    header = ("package", "modules", "lines", "of code", "longest module", "own imports a module")
    return list(markdown_table(header, [*rows, _row(structure, "all", structure.modules)]))


def _row(structure: Structure, title: str, modules: Sequence[Source]) -> tuple[str, ...]:
    longest = max(modules, key=lambda module: module.lines)
    mean = sum(len(structure.imports(module)) for module in modules) / len(modules)
    lines, code = sum(module.lines for module in modules), sum(module.code for module in modules)
    return title, f"{len(modules)}", f"{lines:,}", f"{code:,}", f"{longest.name}, {longest.lines}", f"{mean:.1f}"


if __name__ == "__main__":
    sys.stdout.write("\n".join([*table(Structure()), ""]))
