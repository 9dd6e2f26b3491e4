"""Which cells of a notebook make a name that a later cell uses."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator, Sequence, Set

from IPython.core.inputtransformer2 import TransformerManager


def needed(cells: Sequence[str], doubtful: Set[int]) -> set[int]:
    """Return which of the doubtful cells have to stay, because a cell that stays uses a name as they leave it.

    Args:
        cells: the code of all cells, in order; lines that only IPython understands (`%pip`) may be in it.
        doubtful: positions of those that could be left out.
    """
    wanted: set[str] = set()
    kept: set[int] = set()
    for position in reversed(range(len(cells))):
        made, used = _made(cells[position]), _used(cells[position])
        if position in doubtful:
            if not made & wanted:
                continue
            kept.add(position)
        wanted = (wanted - made) | (used - made)
    return kept


def _made(code: str) -> set[str]:
    """Return the names that a cell, or a function in it, leaves for the cells after it."""
    return {one.get_name() for one in _of_the_notebook(code) if one.is_assigned() or one.is_imported()}


def _used(code: str) -> set[str]:
    """Return the names that a cell, or a function in it, looks up among those of the notebook."""
    return {one.get_name() for one in _of_the_notebook(code) if one.is_referenced()}


def _of_the_notebook(code: str) -> list[symtable.Symbol]:
    """Return the symbols of a cell that belong to the whole notebook: those at its top and those it has inside from
    there."""
    top = _table(code)
    inner = [one for scope in _below(top) for one in scope.get_symbols() if one.is_global()]
    return [*top.get_symbols(), *inner]


def _below(scope: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in scope.get_children():
        yield child
        yield from _below(child)


def _table(code: str) -> symtable.SymbolTable:
    tree = _Generators().visit(ast.parse(TransformerManager().transform_cell(code)))
    return symtable.symtable(ast.unparse(ast.fix_missing_locations(tree)), "<cell>", "exec")


class _Generators(ast.NodeTransformer):
    """Turns comprehensions into generators of the same names. From Python 3.12 on the names in a comprehension are
    listed among those of the scope around it, to which they do not belong; those in a generator are not."""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.GeneratorExp:
        self.generic_visit(node)
        return ast.GeneratorExp(node.elt, node.generators)

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.GeneratorExp:
        self.generic_visit(node)
        return ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators)
