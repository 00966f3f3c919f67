"""A release can be made: what `make release-check` needs is there, and agrees."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def script(name):
    """A script of .ci as a module."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / f".ci/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


release = script("release")
releases = script("releases")
llms = script("llms")


def test_package_changelog_and_citation_have_one_version():
    assert release.version_step().startswith(release.version_of_package())


@pytest.mark.parametrize("changed", ["CHANGELOG.md", "CITATION.cff"])
def test_another_version_is_found(changed, tmp_path, monkeypatch):
    version = release.version_of_package()
    (tmp_path / "seqkeras").mkdir()
    for name in ("seqkeras/__init__.py", "CHANGELOG.md", "CITATION.cff"):
        text = (ROOT / name).read_text()
        (tmp_path / name).write_text(text.replace(version, "77.7") if name == changed else text)
    monkeypatch.setattr(release, "ROOT", tmp_path)
    with pytest.raises(release.FailedError, match=f"{changed}.*77.7"):
        release.version_step()


def test_the_oldest_releases_that_are_tested_are_the_lower_bounds():
    extras = PROJECT["optional-dependencies"]
    names = ("modelling", "tensorflow", "jax", "torch")
    bounds = [*PROJECT["dependencies"], *(bound for name in names for bound in extras[name])]
    lower = dict(bound.split(">=") for bound in bounds if ">=" in bound)
    tested = {}
    for name in ("tensorflow-oldest", "jax-oldest", "torch-oldest"):
        tested |= dict(package.split("==") for package in releases.RELEASES[name].packages)
    tested["tensorflow"] = tested.pop("tensorflow-cpu")
    # Parts of JAX have one version.
    assert tested.pop("jaxlib") == tested["jax"]
    short = {name: tested[name].removesuffix(".0") for name in lower}
    assert short == {name: version.removesuffix(".0") for name, version in lower.items()}


def test_every_python_of_the_classifiers_is_tested():
    names = [
        words.rpartition(" ")[2] for words in PROJECT["classifiers"] if "Python :: 3." in words
    ]
    tested = {entry.python.removeprefix("python") for entry in releases.RELEASES.values()}
    assert tested == set(names)


def test_the_tests_of_releases_exist():
    tests = {test for entry in releases.RELEASES.values() for test in entry.tests}
    assert tests
    files = {test.removeprefix("--deselect=").partition("::")[0] for test in tests}
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_a_step_names_what_did_not_run_here(capfd):
    text = "one: builds\\none: format as expected\\none: not run: no macOS\\ntwo: with avx2"
    lines = release.run(sys.executable, "-c", f"print('{text}')")
    assert release.names_with(lines, "not run") == "one"
    assert release.names_with(lines, "not tested") == "none"
    assert "two: with avx2" in capfd.readouterr().out


def test_a_command_that_fails_fails_its_step():
    with pytest.raises(release.FailedError, match=sys.executable):
        release.run(sys.executable, "-c", "raise SystemExit(1)")


def test_make_has_the_scripts_that_release():
    commands = subprocess.run(
        ["make", "--dry-run", "wheels", "release-check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in (".ci/wheels.py", ".ci/release.py"):
        assert name in commands
        assert (ROOT / name).exists()


def test_windows_is_promised_what_the_library_calls_of_python():
    source = (ROOT / "seqkeras/native/src/door.cpp").read_text()
    code = re.sub(r"//.*", "", source)
    macros = {
        "Py_RETURN_NONE": ["_Py_NoneStruct"],
        "Py_BEGIN_ALLOW_THREADS": ["PyEval_SaveThread"],
        "Py_END_ALLOW_THREADS": ["PyEval_RestoreThread"],
    }
    called = set(re.findall(r"\bPy[A-Z][A-Za-z]*_[A-Z][a-z][A-Za-z]*\b", code))
    called.discard("PyModuleDef_Slot")  # a type
    for macro, functions in macros.items():
        if macro in code:
            called.update(functions)
    lines = (ROOT / ".ci/windows/python3.def").read_text().partition("EXPORTS\n")[2].splitlines()
    assert {line.split()[0] for line in lines} == called


def test_the_index_for_language_models_has_every_page_once_with_what_it_is_about():
    text = llms.index()
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    parts = [re.fullmatch(r"- \[(.+?)\]\((.+?)\): (.{10,600})", line) for line in lines]
    assert all(parts), [line for line, part in zip(lines, parts, strict=True) if not part]
    linked = [part[2] for part in parts]
    pages = [str(page.relative_to(ROOT / "docs")) for page in llms.pages()]
    assert sorted([*linked, "index.md"]) == sorted(pages)
    head = re.match(r"# \S.*\n\n> \S.*\n\n## \S.*\n\n- \[", text)
    assert head, text[:200]


def test_the_index_is_written_next_to_the_pages_that_it_links_to(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["llms.py", str(tmp_path)])
    llms.main()
    links = re.findall(r"\]\((.+?)\)", (tmp_path / "llms.txt").read_text())
    assert links
    assert all((tmp_path / link).is_file() for link in links)


def test_the_reference_for_language_models_has_every_name_with_what_it_does():
    page = (ROOT / "docs/api.md").read_text()
    text = llms.with_names(page)
    assert "```" not in text
    assert ".. auto" not in text
    named = re.findall(r"^\.\. (?:auto(?:function|class|exception)|py:data):: (\w+)", page, re.M)
    listed = dict(re.findall(r"^- `(\w+)(?:\(.*\))?`: (.+)$", text, re.M))
    assert set(named) <= listed.keys()
    assert listed["WindowSpec"].startswith("The rows of a series")
    assert re.search(r"`translations\(sources, beam=1, .*\)`: Translate texts, and return", text)
    assert "`ArgumentError`: An argument has a value that cannot work." in text


def test_a_page_in_no_table_of_contents_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "index.md").write_text("# Site\n\nIt has pages.\n\n```{toctree}\nfirst\n```\n")
    (tmp_path / "first.md").write_text("# First\n\nThe first page.\n")
    (tmp_path / "lost.md").write_text("# Lost\n\nNobody links here.\n")
    monkeypatch.setattr(llms, "DOCS", tmp_path)
    with pytest.raises(SystemExit, match=r"lost\.md"):
        llms.index()
