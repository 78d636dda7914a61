"""What the source of a question says of it, read without importing it: importing an experiment loads TensorFlow."""

import ast
import re
from pathlib import Path

from hw1 import catalogue

SHARED = Path(__file__).with_name("settings.py")  # those that questions inherit


def docstring(name: str) -> str:
    """The docstring of the experiment of a question."""
    return ast.get_docstring(_parse(_path(name)))


def summary(name: str) -> str:
    """The first line of that docstring: the question itself."""
    return docstring(name).partition("\n")[0]


def labels(name: str) -> dict[str, str]:
    """Setting → what it is: its help text up to the first comma, semicolon or bracket that ends a clause."""
    return {setting: re.split(r"[,;] | \(", text)[0] for setting, text in _help(name).items()}


def _help(name: str) -> dict[str, str]:
    """Setting → the help text of its `question.option`, with those that a question inherits."""
    classes = {node.name: node for path in (SHARED, _path(name)) for node in _parse(path).body if _is_class(node)}
    texts, todo = {}, ["Settings"]
    while todo:
        node = classes[todo.pop()]
        todo += [base.attr for base in node.bases if isinstance(base, ast.Attribute)]  # question.Images
        todo += [base.id for base in node.bases if isinstance(base, ast.Name)]
        for field in node.body:
            if isinstance(field, ast.AnnAssign):
                texts.setdefault(field.target.id, _text(field.value))
    return texts


def _text(option: ast.Call) -> str:
    """The argument `help` of a call of `question.option`: the second one, or given by its name."""
    named = {keyword.arg: keyword.value for keyword in option.keywords}
    return ast.literal_eval(named["help"] if "help" in named else option.args[1])


def _is_class(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef)


def _path(name: str) -> Path:
    return Path(__file__).with_name(catalogue.part_of(name)) / f"{name}.py"


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
