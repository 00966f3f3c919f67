"""Tests of the public names, and of the packages that importing them loads."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import seqkeras

PACKAGE = Path(seqkeras.__file__).parent
FRAMEWORKS = {"jax", "keras", "matplotlib", "pandas", "sklearn", "tensorflow", "torch", "tqdm"}


def typed_names(path: Path) -> list[tuple[str, str, str]]:
    """Return (package, name, origin) of each import that only type checkers see."""
    package = ".".join(("seqkeras", *path.parent.relative_to(PACKAGE).parts))
    return [
        (package, alias.asname or alias.name, f"{statement.module}:{alias.name}")
        for block in ast.parse(path.read_text()).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    ]


LAZY = {names[0][0]: names for path in PACKAGE.rglob("__init__.py") if (names := typed_names(path))}


def output_of(script: str) -> str:
    """Return what a fresh Python prints for `script`."""
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python loads for `code`."""
    script = "\n".join(
        [
            "import sys",
            "before = set(sys.modules)",
            code,
            "print(*{name.split('.')[0] for name in set(sys.modules) - before})",
        ]
    )
    return set(output_of(script).split())


def test_the_lazy_packages_are_found():
    assert {"seqkeras", "seqkeras.windows"} <= LAZY.keys()


@pytest.mark.parametrize("package", LAZY)
def test_type_checkers_see_the_names_that_python_sees(package):
    assert sorted(name for _, name, _ in LAZY[package]) == importlib.import_module(package).__all__


@pytest.mark.parametrize(
    ("package", "name", "source"), [names for package in LAZY.values() for names in package]
)
def test_public_name_is_the_object_that_type_checkers_see(package, name, source):
    module, original = source.split(":")
    expected = getattr(importlib.import_module(module), original)
    assert getattr(importlib.import_module(package), name) is expected


@pytest.mark.parametrize("package", LAZY)
def test_dir_lists_only_public_names(package):
    module = importlib.import_module(package)
    assert [name for name in dir(module) if name[:2] != "__"] == module.__all__


def test_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match=r"'seqkeras' has no attribute 'many_to_nothing'"):
        seqkeras.many_to_nothing  # noqa: B018


def test_importing_seqkeras_loads_no_other_package():
    loaded = loaded_by("import seqkeras; seqkeras.__version__, dir(seqkeras)")
    assert "seqkeras" in loaded
    assert not loaded & (FRAMEWORKS | {"numpy"})


@pytest.mark.parametrize(
    "code",
    [
        "import seqkeras.windows as w\n"
        "series = w.GroupedArray.from_series([[1.0, 2.0], [3.0, 5.0]])\n"
        "w.StandardScaler().fit(series).transform(series)\n"
        "w.gather(series.values, w.WindowSpec(2).start([0, 1]), timesteps=2)",
        "from seqkeras.scoring import mae\nmae([1.0], [2.0])",
    ],
    ids=["windows", "scoring"],
)
def test_only_numpy_is_needed(code):
    loaded = loaded_by(code)
    assert "numpy" in loaded
    assert not loaded & FRAMEWORKS


#: Packages by the extra that installs them.
EXTRAS = {
    "serve": {"msgspec", "starlette", "uvicorn", "httpx", "redis"},
    "tensorflow": {"keras", "tensorflow", "jax", "torch", "pandas", "sklearn", "scipy", "tqdm"},
}


def run_with(extras: set[str], code: str) -> str:
    """Return what a fresh Python prints for `code`, where only these extras are installed."""
    hidden = sorted(set().union(*(EXTRAS[extra] for extra in EXTRAS.keys() - extras)))
    # With None in the place of a module, its import fails as that of a missing package.
    script = f"import sys\nsys.modules.update(dict.fromkeys({hidden}))\n{code}"
    return output_of(script)


@pytest.mark.parametrize(
    ("extras", "provided", "missing"),
    [
        (set(), {"WindowSpec", "runtime", "text"}, {"Windows", "accelerate", "serve", "testing"}),
        ({"serve"}, {"WindowSpec", "serve"}, {"Forecaster", "models"}),
        ({"tensorflow"}, {"Forecaster", "accelerate", "testing"}, {"serve"}),
    ],
    ids=["none", "serve", "tensorflow"],
)
def test_a_star_import_provides_the_names_whose_packages_are_installed(extras, provided, missing):
    names = set(run_with(extras, "from seqkeras import *\nprint(*globals())").split())
    assert provided <= names
    assert not missing & names


NAME_THE_REST = """
import importlib
from seqkeras.errors import MissingDependencyError
for package in {packages}:
    module = importlib.import_module(package)
    for name in dir(module):
        try:
            getattr(module, name)
        except MissingDependencyError as error:
            print(name, 'pip install "seqkeras[' in str(error))
"""


def test_every_name_that_needs_more_packages_gives_the_command_to_install_them():
    packages = sorted(LAZY.keys() - {"seqkeras.serve"})  # which needs msgspec as a whole
    lines = run_with(set(), NAME_THE_REST.format(packages=packages)).splitlines()
    answers = dict(line.split() for line in lines)
    assert {"StatefulBatches", "TokenBatches", "Detector", "testing"} <= answers.keys()
    assert set(answers.values()) == {"True"}
