"""The map of the house, drawn from its contracts and its imports, and counted: rooms, floors, circles.

    python -m tests.house                          # the counts
    python -m tests.house --into harness/README.md # the map, between its markers

Rooms are the folders of `harness` and `scenarios`; the floors are the layers of the import-linter contract in pyproject.toml;
circles are sets of files, or of rooms, that import each other, wherever in a file the import stands, for type checkers alone too.
"""

from __future__ import annotations

import argparse
import ast
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- house -->", "<!-- /house -->"


@dataclass(frozen=True)
class House:
    """Rooms by floor from the bottom up, and who imports whom: files, and rooms."""

    floors: tuple[tuple[str, ...], ...]
    files: Mapping[str, frozenset[str]]

    @property
    def rooms(self) -> tuple[str, ...]:
        return tuple(room for floor in self.floors for room in floor)

    @property
    def room_imports(self) -> dict[str, frozenset[str]]:
        """Return {room: the other rooms it imports}."""
        pairs = [(room_of(file), room_of(other)) for file, others in self.files.items() for other in others]
        return {room: frozenset(b for a, b in pairs if a == room != b and b in self.rooms) for room in self.rooms}


def house(root: Path = ROOT) -> House:
    """Return the house as the contracts and the imports have it."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    floors = [tuple(f"harness/{room.strip()}" for room in layer.split("|")) for layer in reversed(layers)]
    graph = grimp.build_graph("harness", "scenarios")
    files = {module: frozenset(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    return House((*floors, ("scenarios",)), files)


def room_of(module: str) -> str:
    """Return the room that a module stands in; `harness` itself for the package's own file."""
    parts = module.split(".")
    return parts[0] if parts[0] == "scenarios" or len(parts) == 1 else f"harness/{parts[1]}"


def circles(imports: Mapping[str, Iterable[str]]) -> list[frozenset[str]]:
    """Return the sets of more than one node that reach each other (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    closed: list[frozenset[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in imports.get(node, ()):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            place = stack.index(node)
            closed.append(frozenset(stack[place:]))
            del stack[place:]

    for node in imports:
        if node not in number:
            visit(node)
    return [component for component in closed if len(component) > 1]


def height(imports: Mapping[str, Iterable[str]]) -> int:
    """Return how many rooms stand on each other at most: the floors that the imports themselves need."""

    def above(node: str) -> int:
        return 1 + max((above(other) for other in imports[node]), default=0)

    return max(map(above, imports))


def counts(of: House) -> str:
    """Return rooms, floors and circles in a line each."""
    loose = sorted(path.name for path in (ROOT / "harness").glob("*.py") if path.name != "__init__.py")
    lines = {
        "rooms": len(of.rooms),
        "floors by the contracts": len(of.floors),
        "floors by the imports": height(of.room_imports),
        "circles of files": len(circles(of.files)),
        "circles of rooms": len(circles(of.room_imports)),
        "files": len(of.files),
        "loose in harness/": ", ".join(loose) or 0,
    }
    return "\n".join(f"{name}: {value}" for name, value in lines.items())


def drawn(of: House) -> str:
    """Return the map in Markdown: the rooms from the top floor down, and each room's files in a line each."""
    lines = ["| floor | room | what it is |", "| ---: | --- | --- |"]
    for floor, rooms in reversed([*enumerate(of.floors, 1)]):
        lines += [f"| {floor} | `{room}/` | {_first_line(ROOT / room / '__init__.py')} |" for room in rooms]
    for rooms in reversed(of.floors):
        for room in rooms:
            lines += ["", f"**{room}/**", "", *(f"- `{name}`: {line}" for name, line in _files(ROOT / room))]
    return "\n".join(lines)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.py")):
        if path.name != "__init__.py":
            yield path.relative_to(folder).as_posix(), _first_line(path)


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]


def insert(text: str, drawing: str) -> str:
    """Return a Markdown text with the drawing between its markers. Raises ValueError where they are not there."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"no place for the map: put the lines {START} and {END} where it shall stand")
    return f"{before}{START}\n{drawing}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the house, or draw its map into a Markdown file.")
    parser.add_argument("--into", type=Path)
    into = parser.parse_args().into
    if into is None:
        print(counts(house()))
    else:
        into.write_text(insert(into.read_text("utf-8"), drawn(house())), "utf-8")


if __name__ == "__main__":
    main()
