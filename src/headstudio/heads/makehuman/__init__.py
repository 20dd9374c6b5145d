"""The default head: MakeHuman's (CC0), cut out of the body and given 52 ARKit units and a compact identity basis."""

from headstudio.cache import cached_tensors
from headstudio.heads.base import HeadModel
from headstudio.heads.makehuman import files


def load() -> HeadModel:
    """The MakeHuman head. The first call computes its tables in some seconds and keeps them in the cache folder."""
    from headstudio.heads.makehuman import tables

    tensors = cached_tensors(f"makehuman-{files.fingerprint()}", tables.build)
    return HeadModel(tables.head_data(tensors))
