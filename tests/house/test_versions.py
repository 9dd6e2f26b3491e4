"""One set of tested versions, said twice: for pip and for conda."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from chapters import ROOT
from pins import NOT_IN_ENVIRONMENT, canonical, named

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PIP_LINES = next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
REQUIREMENTS = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
]


def pins(lines):
    """Return {name: version} of the lines `name==version`; other lines are left out."""
    matches = (re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines)
    return {canonical(match[1]): match[2] for match in matches if match}


def constraint_lines():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_constraints_hold_exact_versions_and_nothing_else():
    assert len(pins(constraint_lines())) == len(constraint_lines())


def test_environment_says_the_versions_of_constraints():
    constraints = pins(constraint_lines())
    different = {name: (v, constraints.get(name)) for name, v in pins(PIP_LINES).items() if constraints.get(name) != v}
    assert different == {}


@pytest.mark.parametrize("name", sorted(named()))
def test_package_of_pyproject_is_pinned_in_constraints(name):
    assert name in pins(constraint_lines())


def test_environment_pins_what_pyproject_names_but_for_the_benchmarks():
    assert set(pins(PIP_LINES)) == named(without=NOT_IN_ENVIRONMENT)


def test_packages_of_the_benchmarks_are_in_no_environment_for_the_book():
    assert {"accelerate", "lightning-fabric", "pytorch-lightning"} & set(pins(PIP_LINES)) == set()


def test_environment_takes_the_rest_from_constraints():
    assert "-c constraints.txt" in PIP_LINES


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_tested_version_satisfies_pyproject(requirement):
    assert requirement.specifier.contains(pins(constraint_lines())[canonical(requirement.name)])


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_pyproject_has_lower_bounds_only(requirement):
    # Jupyter Book 2 reads no _config.yml, which is why it alone has an upper bound.
    allowed = {">=", "<"} if requirement.name == "jupyter-book" else {">="}
    assert {one.operator for one in requirement.specifier} == allowed


def test_torch_and_torchvision_are_released_together():
    # torchvision 0.(n + 15) is built for torch 2.n.
    versions = pins(constraint_lines())
    assert Version(versions["torchvision"]).minor == Version(versions["torch"]).minor + 15


def test_python_of_environment_is_one_that_pyproject_admits():
    python = next(entry for entry in ENVIRONMENT["dependencies"] if str(entry).startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.removeprefix("python="))
