"""Closed meshes for the tests of geometry and scan."""

import torch


def sphere(rings: int, segments: int | None = None):
    """A closed unit sphere round the origin, counter-clockwise from outside: vertices, triangles."""
    segments = rings if segments is None else segments
    polar = torch.linspace(0, torch.pi, rings + 1)[1:-1, None]
    around = torch.arange(segments) * 2 * torch.pi / segments
    sides = [polar.sin() * around.cos(), polar.cos().expand(-1, segments), -polar.sin() * around.sin()]
    vertices = torch.cat([torch.stack(sides, -1).reshape(-1, 3), torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])])
    here, following = torch.arange(segments), (torch.arange(segments) + 1) % segments
    top, bottom, last = len(vertices) - 2, len(vertices) - 1, (rings - 2) * segments
    parts = [torch.stack([torch.full_like(here, top), here, following], -1)]
    for row in range(rings - 2):
        a, b = row * segments + here, row * segments + following
        parts += [torch.stack([a, a + segments, b], -1), torch.stack([b, a + segments, b + segments], -1)]
    parts.append(torch.stack([last + following, last + here, torch.full_like(here, bottom)], -1))
    return vertices, torch.cat(parts)
