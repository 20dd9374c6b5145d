"""Several views of one performance: their clocks and cameras, and pictures that should show the same moment."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from headstudio.records.capture import Capture, CaptureView
from headstudio.report.charts import curves
from headstudio.report.markup import Markup, figure, table
from headstudio.report.pictures import contact_sheet, inline, spread

_MOMENTS, _CELL_PX = 6, 220
_HEADER = ("view", "film", "starts at, s", "yaw of the face", "focal length", "turned", "away from the first")


def views_parts(capture: Capture) -> tuple[Markup, ...]:
    """A table of the views, their head angles over time, and a row of pictures of each of some moments."""
    rows = [_row(capture, view) for view in capture.views]
    angles = {view.name: _yaw(view) for view in capture.views if "yaw_deg" in view.quality}
    chosen = spread(range(capture.frames), _MOMENTS)
    pictures = [capture.image(frame, index) for frame in chosen for index in range(len(capture.views))]
    labels = [f"{view.name}  {float(view.times_s[frame]):.3f} s" for frame in chosen for view in capture.views]
    sheet = contact_sheet(pictures, labels, len(capture.views), _CELL_PX)
    how = "found from the moving head" if capture.views[0].lens_estimated else "as they were given"
    return (
        figure(table(_HEADER, rows), f"The first view gives clock and world; cameras {how}."),
        figure(curves(angles, "seconds"), "Yaw of the face in every view, degrees: parallel where clocks agree."),
        figure(inline(sheet, "views"), "Each row is one moment: lids and lips must agree."),
    )


def _row(capture: Capture, view: CaptureView) -> tuple[str, ...]:
    yaw = float(view.quality["yaw_deg"].nanmedian()) if "yaw_deg" in view.quality else float("nan")
    side_px = view.crop.side_px / capture.size_px
    focal = "unknown" if view.K_px is None else f"{float(view.K_px[0, 0, 0]) * side_px:.0f} px"
    turned = away = "unknown"
    if view.T_camera_world is not None:
        T = view.T_camera_world.double().numpy()
        turned = f"{np.degrees(Rotation.from_matrix(T[:3, :3]).magnitude()):.1f} degrees"
        away = f"{np.linalg.norm(T[:3, 3]):.2f} m"
    start_s = f"{view.source.start_s:.3f}"
    return view.name, view.source.file_name, start_s, f"{yaw:.0f} degrees", focal, turned, away


def _yaw(view: CaptureView) -> list[tuple[float, float]]:
    yaw_deg = torch.nan_to_num(view.quality["yaw_deg"])
    return list(zip(view.times_s.tolist(), yaw_deg.tolist(), strict=True))
