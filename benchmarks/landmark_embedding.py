"""Find MediaPipe's 478 landmarks on a head: render it over views and persons, detect, back-project, average.

    python benchmarks/landmark_embedding.py makehuman
    python benchmarks/landmark_embedding.py ict --path ict_facekit.npz
    python benchmarks/landmark_embedding.py flame --path FLAME.pkl

writes src/headstudio/heads/tables/HEAD_landmarks.safetensors. The persons are drawn with `SEED`, so do not judge the
table on persons of that seed.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from embedding_pictures import Picture, pictures
from embedding_surface import IRISES, Sightings, back_project, embed
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel

SEED = 71
LANDMARKS = 478
TABLES = Path(__file__).parents[1] / "src" / "headstudio" / "heads" / "tables"


def main() -> None:
    """Make the table of one head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("head", choices=("makehuman", "ict", "flame"))
    parser.add_argument("--path", type=Path, help="the head's own file, where it needs one")
    parser.add_argument("--persons", type=int, default=14)
    parser.add_argument("--pictures", type=Path, help="folder for pictures to look at")
    arguments = parser.parse_args()
    head = load_head(arguments.head, **({"path": arguments.path} if arguments.path else {}))
    sightings = detect(head, arguments.persons, arguments.pictures)
    table = embed(head, sightings, landmark_mirror(head))
    TABLES.mkdir(exist_ok=True)
    path = TABLES / f"{arguments.head}_landmarks.safetensors"
    save_file(table | {"triangles": torch.tensor(len(head.triangles))}, path)
    trusted = table["weight"] > 0.5
    print(f"{path.name}: {int(trusted.sum())} of {LANDMARKS} landmarks with weight above 0.5")


def detect(head: HeadModel, persons: int, folder: Path | None) -> Sightings:
    """Where the landmarks of all pictures lie on the surface."""
    import mediapipe

    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as detector:
        seen, missed = [], 0
        for number, picture in enumerate(pictures(head, persons, SEED)):
            found = detector.process(picture.rgb).multi_face_landmarks
            if not found:
                missed += 1
                continue
            points_px = np.array([[p.x, p.y] for p in found[0].landmark]) * picture.rgb.shape[1::-1]
            seen.append(back_project(picture, torch.from_numpy(points_px).float(), head.data.regions))
            if folder is not None:
                _draw(picture, points_px, folder / f"{head.name}_{number:03d}.png")
    print(f"{len(seen)} faces found, {missed} missed")
    return Sightings.joined(seen)


def landmark_mirror(head: HeadModel) -> torch.Tensor:
    """(478,) the mirror image of every landmark: how they pair up on a face that is the same on both sides."""
    import mediapipe
    from scipy.optimize import linear_sum_assignment

    front = next(p for p in pictures(head, 1, SEED, views_deg=((0, 0),), mouth_open=True))
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as detector:
        found = detector.process(front.rgb).multi_face_landmarks[0].landmark
    points = torch.tensor([[p.x, p.y, p.z] for p in found])
    points[:, 0] -= points[:, 0].mean()
    cost = torch.cdist(points * torch.tensor([-1.0, 1.0, 1.0]), points)
    mirror = torch.from_numpy(linear_sum_assignment(cost.numpy())[1])
    # The refined eyes and irises have no depth of their own that could tell them apart where they meet.
    mirror[IRISES] = torch.tensor([473, 476, 475, 474, 477, 468, 471, 470, 469, 472])
    if not torch.equal(mirror[mirror], torch.arange(LANDMARKS)):
        raise SystemExit("the landmarks do not pair up; the front view was not detected well")
    return mirror


def _draw(picture: Picture, points_px: np.ndarray, path: Path) -> None:
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture.rgb)
    draw = ImageDraw.Draw(image)
    for x, y in points_px:
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=(0, 255, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


if __name__ == "__main__":
    main()
