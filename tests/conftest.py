"""Shared fixtures. The toys are put on the path with their own entry points: a package headstudio does not know of."""

import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS / "toys")]
LONGEST = "test_contract_end_to_end.py"


def pytest_collection_modifyitems(items):
    """The file that trains every method starts first and then those with most tests, so that workers end together."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name != LONGEST, -tests[item.path], str(item.path)))


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
