"""What was found out about one film, kept beside the work, so that a run that was stopped need not look again."""

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import torch

from headstudio import storage
from headstudio.capture.decode import Damage
from headstudio.capture.store import PictureTables
from headstudio.capture.survey import Survey

SCHEMA, VERSION = "headstudio.survey", 1
_MEASURE = "measure/"


def save_survey(folder: Path, survey: Survey) -> None:
    """Write a survey into a folder of its own; the JSON comes last and says that all is there."""
    tables = {
        "landmarks_px": torch.from_numpy(survey.landmarks_px),
        "changes": torch.tensor(survey.changes, dtype=torch.float64).reshape(-1, 2),
        "hands": torch.tensor(survey.hands, dtype=torch.float64),
    }
    storage.write_tensors(folder / "survey.safetensors", tables)
    times = [[time.numerator, time.denominator] for time in survey.times_s]
    content = {"times_s": times, "most_faces": survey.most_faces, "damage": asdict(survey.damage)}
    storage.write_json(folder / "survey.json", SCHEMA, VERSION, content)


def kept_survey(folder: Path) -> Survey | None:
    """What `save_survey` wrote; None where it did not come to that."""
    if not (folder / "survey.json").is_file():
        return None
    content = storage.read_json(folder / "survey.json", SCHEMA, VERSION)
    tables = storage.read_tensors(folder / "survey.safetensors")
    return Survey(
        times_s=[Fraction(above, below) for above, below in content["times_s"]],
        landmarks=list(tables["landmarks_px"].numpy()),
        changes=[(float(a), float(b)) for a, b in tables["changes"]],
        hands=tables["hands"].tolist(),
        most_faces=content["most_faces"],
        damage=Damage(**content["damage"]),
    )


def save_tables(path: Path, tables: PictureTables) -> None:
    """Write what was measured in the stored pictures, once they are all there."""
    named = {f"{_MEASURE}{name}": torch.from_numpy(values) for name, values in tables.measures.items()}
    named |= {"outside_matte": torch.from_numpy(tables.outside_matte), "colours": torch.from_numpy(tables.colours)}
    storage.write_tensors(path, named)


def kept_tables(path: Path) -> PictureTables | None:
    """What `save_tables` wrote; None where it did not come to that."""
    if not path.is_file():
        return None
    named = {name: value.numpy() for name, value in storage.read_tensors(path).items()}
    measures = {name.removeprefix(_MEASURE): values for name, values in named.items() if name.startswith(_MEASURE)}
    return PictureTables(measures, named["outside_matte"], named["colours"])
