"""The shape of the project: imports run one way, and everything that only reads CSVs does without TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Module or package of hw1 → what of hw1 it may import.
LEAVES = {"datasets", "models", "records", "evaluation", "statistics", "quiet"}
CORE = LEAVES | {"training", "recipe", "measures", "question"}
ALLOWED = {
    "datasets": set(),
    "models": set(),
    "records": set(),
    "evaluation": set(),
    "statistics": set(),
    "quiet": set(),
    "training": {"evaluation", "models", "datasets", "records"},
    "recipe": {"training", "models"},
    "measures": {"evaluation", "models", "datasets", "measures"},
    "question": {"records", "datasets", "plot"},
    "deep_vs_shallow": CORE,
    "optimization": CORE,
    "generalization": CORE,
    "landscape": CORE,
    "figures": {"statistics", "figures"},
    "ledger": {"statistics", "ledger"},
    "claims": {"question", "records", "ledger"},
    "plot": {"question", "records", "figures"},
    "report": {"question", "records", "statistics", "plot", "figures", "report", "claims"},
    "reproduce": {"question", "records"},
    "measure": CORE,
}


def _imports(path: Path):
    """Yields the dotted names of hw1 that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("hw1"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hw1":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted((ROOT / "hw1").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    """Each part of hw1 imports only what stands below it, and no question another."""
    part = path.relative_to(ROOT / "hw1").parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for name in _imports(path):
        imported = name.split(".")[1]
        assert imported in ALLOWED[part], f"{path} imports {name}"


@pytest.mark.parametrize(
    "module",
    [
        *("plot", "records", "statistics", "figures.deep_vs_shallow", "report.deep_vs_shallow"),
        *("figures.generalization", "report.generalization", "claims"),
    ],
)
def test_what_reads_csvs_needs_no_tensorflow(module):
    """Importing it leaves TensorFlow and Keras out."""
    code = f"import sys, hw1.{module}; assert not {{'tensorflow', 'keras'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_importing_a_command_defines_no_flag():
    """Absl's global flags do not hold the settings of a question, whose names they could not hold twice."""
    code = (
        "from absl import flags; import hw1.reproduce, hw1.plot, hw1.report.__main__, hw1.generalization.sharpness; "
        "assert not {'size', 'out', 'seeds', 'batch_sizes'} & set(flags.FLAGS)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
