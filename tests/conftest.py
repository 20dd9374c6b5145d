"""Shared fixtures. The toys are put on the path with their own entry points: a package headstudio does not know of."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS / "toys")]


@pytest.fixture(scope="session")
def actor_source(tmp_path_factory):
    """The synthetic actor who is learned."""
    from support.actor import tracked_actor

    return tracked_actor(tmp_path_factory.mktemp("actor"), seed=7)


@pytest.fixture(scope="session")
def other_source(tmp_path_factory):
    """Another synthetic actor, who drives."""
    from support.actor import tracked_actor

    return tracked_actor(tmp_path_factory.mktemp("other"), seed=11)
