"""The examples in docstrings are run."""

import doctest
import importlib
import pkgutil

import pytest

import seglab

MODULES = sorted(module.name for module in pkgutil.walk_packages(seglab.__path__, "seglab."))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(examples) >= 5
