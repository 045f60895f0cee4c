"""`docs/private_api` lists each private use of a library, and the installed libraries fit it."""

import ast
import importlib
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT_DIR = Path(__file__).parents[2]
FOLDER = PROJECT_DIR / "docs" / "private_api"
PYPROJECT = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = {one.name: one for one in map(Requirement, PYPROJECT["project"]["dependencies"])}
SOURCES = sorted(
    file
    for package in ("cowpoke", "bridge", "worker")
    for file in (PROJECT_DIR / package).rglob("*.py")
)
#: Names with an underscore that are documented all the same.
DOCUMENTED = {"_asdict", "_exit", "_replace"}
#: Documented methods that a class of ours may override.
MEANT_TO_BE_OVERRIDDEN = {"celery": {"Task.run"}}

USES = {
    file.stem: tomllib.loads(file.read_text(encoding="utf-8"))["use"]
    for file in FOLDER.glob("*.toml")
}
LISTED = [(library, use) for library, uses in USES.items() for use in uses]


def found(name):
    """The object that `module:Class.attribute` names; None where there is none any more."""
    module, _, path = name.partition(":")
    thing = importlib.import_module(module)
    for part in path.split("."):
        thing = getattr(thing, part, inspect)
        if thing is inspect:
            return inspect
    return thing


def parameters(function):
    """The signature without annotations, as people write it."""
    signature = inspect.signature(function)
    plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    return signature.replace(parameters=plain, return_annotation=signature.empty)


def difference(use):
    """What of a use does not fit the installed library; None when all does."""
    thing = found(use["name"])
    if thing is inspect:
        return "it is gone"
    if "signature" in use and str(parameters(thing)) != use["signature"]:
        return f"its parameters were {use['signature']} and are {parameters(thing)}"
    lacking = set(use.get("accepts", ()))
    if lacking:
        lacking -= set(inspect.signature(thing).parameters)
    if lacking:
        return f"it takes no {', '.join(sorted(lacking))} any more"
    if "source" in use:
        text = inspect.getsource(thing)
        for wanted in use["source"]:
            if wanted not in text:
                return f"its source has no `{wanted}` any more"
    return None


@pytest.mark.parametrize(("library", "use"), LISTED, ids=[use["name"] for _, use in LISTED])
def test_a_private_part_is_as_the_code_needs_it(library, use):
    """Else one sentence says what to look at, before anything breaks."""
    changed = difference(use)
    assert changed is None, (
        f"{library} {version(library)} changed {use['name']}: {changed}. "
        f"{', '.join(use['used_by'])} needs it: it {use['why']}. "
        f"Check that code, then correct docs/private_api/{library}.toml."
    )


@pytest.mark.parametrize("library", sorted(USES))
def test_a_library_with_private_uses_has_an_upper_bound(library):
    """Only releases that were compared with the list are installed."""
    specifier = REQUIREMENTS[library].specifier
    assert any(one.operator in {"<", "<=", "=="} for one in specifier), (
        f"pyproject.toml needs an upper bound for {library}: docs/private_api/{library}.toml lists "
        "private uses"
    )
    assert Version(version(library)) in specifier, (
        f"{library} {version(library)} is installed and pyproject.toml wants {specifier}"
    )


@pytest.mark.parametrize("use", [use for _, use in LISTED], ids=[use["name"] for _, use in LISTED])
def test_a_list_names_files_that_still_use_it(use):
    """An entry that nobody needs would keep a library back."""
    for name in use["used_by"]:
        assert (PROJECT_DIR / name).is_file(), f"{name}, which uses {use['name']}, is gone"


def test_every_private_attribute_of_a_library_is_listed():
    """`something._name` of what is not ours."""
    using = {name for _, use in LISTED for name in use["used_by"]}
    unlisted = []
    for file in SOURCES:
        name = str(file.relative_to(PROJECT_DIR))
        tree = ast.parse(file.read_text(encoding="utf-8"))
        own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)} | {
            "self",
            "cls",
        }
        unlisted += [
            f"{name}:{node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and re.match(r"_[^_]", node.attr)
            and node.attr not in DOCUMENTED
            and ast.unparse(node.value) not in own
            and name not in using
        ]
    assert unlisted == [], "list these in docs/private_api, or use something documented"


def test_every_override_of_a_librarys_method_is_listed():
    """A method of ours that a library calls by a name it may change."""
    listed = {
        (file, use.get("overridden_by", use["name"].rpartition(".")[2]))
        for _, use in LISTED
        for file in use["used_by"]
    }
    unlisted = []
    for file in SOURCES:
        name = str(file.relative_to(PROJECT_DIR))
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for made in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            for library, base in library_bases(tree, made):
                meant = MEANT_TO_BE_OVERRIDDEN.get(library, ())
                unlisted += [
                    f"{name}: {made.name}.{method.name} of {base.__qualname__} ({library})"
                    for method in made.body
                    if isinstance(method, ast.FunctionDef)
                    and method.name != "__init__"
                    and hasattr(base, method.name)
                    and f"{base.__name__}.{method.name}" not in meant
                    and (name, method.name) not in listed
                ]
    assert unlisted == [], "list these in docs/private_api"


def library_bases(tree, made):
    """The classes of listed libraries that a class derives from directly, each with its library."""
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for base in made.bases:
        module, name = imported.get(ast.unparse(base), ("", ""))
        library = module.partition(".")[0]
        if library in USES:
            yield library, getattr(importlib.import_module(module), name)
