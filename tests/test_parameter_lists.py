"""Functions take few parameters; what belongs together is one object."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST = 8


@pytest.mark.parametrize("folder", ["models", "hw", "sim", "compiler", "fpga"])
def test_no_function_has_more_than_eight_parameters(folder):
    long, seen = [], 0
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [each.arg for each in (*node.args.posonlyargs, *node.args.args,
                                               *node.args.kwonlyargs)]
                seen += 1
                if len(names) - (names[:1] in (["self"], ["cls"])) > MOST:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert seen and not long
