"""Heads under test: MakeHuman from the installed package, ICT-FaceKit where its file is, a small file like FLAME's."""

import pathlib

import pytest
from flame_file import write_flame_pickle

from headstudio.heads import load_head

ICT_FILE = pathlib.Path(__file__).parents[2].parent / "shared" / "data" / "models" / "ict_facekit.npz"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def makehuman(own_cache):
    return load_head("makehuman")


@pytest.fixture(scope="session")
def ict(own_cache):
    if not ICT_FILE.exists():
        pytest.skip("the ICT-FaceKit file is not here")
    return load_head("ict", path=ICT_FILE)


@pytest.fixture(scope="session")
def flame_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("flame") / "generic_model.pkl"
    write_flame_pickle(path)
    return path


@pytest.fixture(scope="session")
def flame(flame_path):
    return load_head("flame", path=flame_path)


@pytest.fixture(params=["makehuman", "ict", "flame"])
def head(request):
    return request.getfixturevalue(request.param)
