"""One loaded head and one tiny actor for all tests of the room."""

import pytest

from headstudio.heads import load_head
from headstudio.synth.actor import make_actor
from headstudio.synth.config import SynthConfig
from headstudio.synth.stage import Stage


@pytest.fixture(scope="session")
def head():
    return load_head("makehuman")


@pytest.fixture(scope="session")
def tiny_stage(head):
    return Stage.build(SynthConfig.tiny(), head)


@pytest.fixture(scope="session")
def tiny_actor(head, tmp_path_factory):
    return make_actor(tmp_path_factory.mktemp("synth") / "actor", SynthConfig.tiny(), head=head)
