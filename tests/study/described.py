"""Descriptions of single objects, for the tests of identity."""

from typing import Any

from seglab.study.code import Sources
from seglab.study.settings import Settings


def plain(value: Any) -> dict[str, Any]:
    """Return the settings of an object as plain data, and the user's code that they depend on."""
    settings = Settings()
    return {"settings": settings.plain(value), "code": settings.code}


def sources(thing: Any) -> dict[str, str]:
    """Return source hashes, by public name, of the user's own definitions that a class or function depends on."""
    found = Sources()
    found.follow(thing)
    return found.hashes()
