"""The shape of the project: imports run one way, findings read rows, tests mirror the package, files are short."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest
from toys import ROOT

from hw1 import catalogue

PACKAGE = ROOT / "hw1"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
LONGEST = 350  # lines of a file

# Module or package of hw1 → what else of hw1 it may import. Packages may import their own modules, but for the parts:
# no experiment imports another. The findings have rules of their own below.
EXPERIMENT = {
    "command",
    "datasets",
    "evaluation",
    "measures",
    "models",
    "nets",
    "question",
    "quiet",
    "recipe",
    "statistics",
    "training",
}
ALLOWED = {
    "catalogue": set(),
    "datasets": {"limits"},
    "environment": set(),
    "evaluation": set(),
    "files": set(),
    "limits": set(),
    "copies": {"evaluation"},
    "models": {"copies"},
    "nets": set(),
    "quiet": set(),
    "spelling": set(),
    "statistics": set(),
    "records": {"environment", "files"},
    "source": {"catalogue"},
    "settings": {"spelling"},
    "question": {"datasets", "files", "records", "settings", "spelling"},
    "command": {"catalogue", "files", "findings.drawing", "question", "records", "spelling"},
    "training": {"datasets", "evaluation", "models"},
    "recipe": {"models", "training"},
    "measures": {"datasets", "evaluation", "models"},
    # The commands: nothing but the report and the replication, which need the ledger, imports one.
    "__main__": {"catalogue", "command", "source"},
    "plot": {"command", "files", "findings.drawing"},
    "claims": {"catalogue", "command", "files", "findings", "records", "statistics"},
    "workers": {"command", "environment", "question"},
    "cluster": {"catalogue", "command", "findings.drawing", "question", "workers"},
    "reproduce": {"catalogue", "cluster", "command", "files", "question", "records"},
    "replicate": {"catalogue", "claims", "command", "files", "findings", "records", "reproduce"},
    "report": {"catalogue", "claims", "command", "files", "findings", "records", "replicate", "source", "statistics"},
    "compiled": {"evaluation", "quiet"},
    "saved": {"command", "compiled", "copies", "evaluation", "inputs", "limits", "models", "quiet"},
    "inputs": {"command", "datasets", "evaluation"},
    "barriers": {"command", "environment", "files", "findings.style", "inputs", "measures", "saved"},
    "measure": {
        "command",
        "compiled",
        "environment",
        "evaluation",
        "files",
        "findings.style",
        "inputs",
        "measures",
        "models",
        "records",
        "saved",
        "statistics",
    },
} | dict.fromkeys(catalogue.PARTS, EXPERIMENT)
SHARED = ("findings.style", "findings.verdict", "findings.words")
READERS = {
    "__main__",
    "catalogue",
    "claims",
    "command",
    "findings",
    "nets",
    "plot",
    "records",
    "report",
    "source",
    "statistics",
}


def imports(path):
    """Yields the dotted names that a file imports anywhere in it, what is imported from a module with its name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(path):
    """The modules of hw1 that a file imports; of a name that a module defines, the module."""
    found = set()
    for name in imports(path):
        if name.split(".")[0] == "hw1":
            found.add(name if name in MODULES else name.rpartition(".")[0])
    return found


def allows(rules, name):
    """Whether a rule is the module `hw1.<rule>` or a package around it."""
    return any(f"{name}.".startswith(f"hw1.{rule}.") for rule in rules)


def rules_of(module):
    """What a module of hw1 may import of hw1."""
    part, *below = module.split(".")[1:]
    if part != "findings":
        assert part in ALLOWED, f"{part} has no rules"
        return ALLOWED[part] | (set() if part in catalogue.PARTS else {part})
    if below == ["drawing"]:
        return {"catalogue", "files", "records"}
    return {"nets", "statistics", *SHARED, f"findings.{'.'.join(below)}_figure"}  # a long finding draws apart


@pytest.mark.parametrize("module", [module for module in MODULES if module != "hw1"])
def test_imports_run_one_way(module):
    """Each module imports only what stands below it, no experiment another, and no finding that of another question."""
    rules = rules_of(module)
    assert [name for name in sorted(imported(MODULES[module])) if not allows(rules, name)] == []


def test_the_package_itself_imports_nothing_of_its_own():
    """Importing any module of hw1 runs it first."""
    assert imported(MODULES["hw1"]) == set()


def test_no_imports_in_a_circle():
    """Not even through an import within a function. What is imported from a package is its module, where it has one."""
    graph = {module: imported(path) for module, path in MODULES.items()}
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"imports in a circle: {' → '.join(error.args[1])}")


def test_a_rule_that_nothing_needs_is_no_rule():
    """Every module and package at the top of hw1 has its rules, and each rule is a module or package that exists."""
    top = {module.split(".")[1] for module in MODULES if module != "hw1"}
    assert top - {"findings"} == set(ALLOWED)
    wanted = {rule for rules in ALLOWED.values() for rule in rules} | set(SHARED)
    assert {f"hw1.{rule}" for rule in wanted} <= set(MODULES)


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("hw1.findings")])
def test_findings_know_no_tensorflow(module):
    """By no import at all; what is computed with it is in the experiments."""
    assert not {"tensorflow", "keras"} & {name.split(".")[0] for name in imports(MODULES[module])}


def test_what_reads_csvs_needs_no_tensorflow():
    """Importing it leaves TensorFlow and Keras out, also by way of what it imports."""
    modules = [module for module in MODULES if module.split(".")[1:2] and module.split(".")[1] in READERS]
    assert {f"hw1.findings.{part}.{name}" for part in catalogue.PARTS for name in catalogue.names(part)} <= {*modules}
    code = (
        "import importlib, sys\nfor module in sys.argv[1:]:\n    importlib.import_module(module)\n"
        "    assert not {'tensorflow', 'keras'} & set(sys.modules), module"
    )
    subprocess.run([sys.executable, "-c", code, *modules], check=True, cwd=ROOT)


def test_importing_a_command_defines_no_flag():
    """Absl's global flags do not hold the settings of a question, whose names they could not hold twice."""
    code = (
        "from absl import flags; import hw1.__main__, hw1.reproduce, hw1.claims, hw1.plot, hw1.measure, hw1.barriers; "
        "import hw1.report.__main__, hw1.generalization.sharpness; "
        "assert not {'size', 'out', 'seeds', 'batch_sizes', 'only', 'net'} & set(flags.FLAGS)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# Folders and files


def has_code(path):
    """Whether a file holds more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body)


def test_tests_mirror_the_package():
    """A package with code has a folder of tests of its own name, and no other folder has tests but that of faults."""
    packages = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE and has_code(path)
    }
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/test_*.py")}
    assert packages == folders - {"faults"}  # which are those of all packages


@pytest.mark.parametrize("folder", ["figures", "ledger"])
def test_a_question_is_in_two_folders_only(folder):
    """What is drawn, judged and said of it is its finding."""
    assert not list((PACKAGE / folder).rglob("*.py"))


def test_no_file_is_long():
    """One idea a file: of package, tests and benchmarks."""
    files = [path for folder in ("hw1", "tests", "benchmarks") for path in Path(ROOT, folder).rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
