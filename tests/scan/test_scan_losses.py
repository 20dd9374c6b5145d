"""Every loss against its definition and finite differences, and which parameters each one reaches."""

import pytest
import torch

from headstudio.geometry.remesh import remesh
from headstudio.geometry.topology import connect
from headstudio.nn.neural_shader import NeuralShader, NeuralShaderConfig
from headstudio.nn.positional_encoding import positional_encoding
from headstudio.scan import mesh_losses
from headstudio.scan.config import MESH_PRESETS, MeshConfig, MeshWeights
from headstudio.scan.deferred_shading import _Optimisation
from headstudio.scan.hull import visual_hull
from headstudio.scan.multiview import multiview
from support.closed_meshes import sphere
from support.ringed import bumpy, ringed


def rough(rings=6, amount=0.05):
    vertices, triangles = sphere(rings)
    noise = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(0))
    return vertices.double() + amount * noise.double(), connect(triangles, len(vertices))


def test_the_laplacian_term_is_that_of_the_loop():
    vertices, mesh = rough()
    starts, others = mesh.neighbours
    off = [vertices[others[starts[i] : starts[i + 1]]].mean(0) - vertices[i] for i in range(len(vertices))]
    expected = sum(float(x.square().sum()) for x in off) / len(vertices)
    assert float(mesh_losses.laplacian(vertices, mesh)) == pytest.approx(expected)


def test_the_normal_term_is_that_of_the_loop():
    vertices, mesh = rough()
    a, b, c = vertices[mesh.triangles].unbind(1)
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    terms = [(1 - float(normals[i] @ normals[j])) ** 2 for i, j in mesh.sides.tolist()]
    assert float(mesh_losses.normal_consistency(vertices, mesh)) == pytest.approx(sum(terms) / len(terms))


def test_the_normal_term_holds_for_triangles_as_small_as_those_of_a_fine_mesh():
    vertices, mesh = rough()
    large, small = (mesh_losses.normal_consistency(s * vertices.float(), mesh) for s in (1.0, 1e-3))
    torch.testing.assert_close(large, small, rtol=1e-3, atol=0)


@pytest.mark.parametrize("term", [mesh_losses.laplacian, mesh_losses.normal_consistency])
def test_smoothness_terms_have_the_gradient_of_finite_differences(term):
    vertices, mesh = rough()
    assert torch.autograd.gradcheck(lambda v: term(v, mesh), vertices.requires_grad_(), atol=1e-6)


def test_smoothness_terms_are_least_where_the_surface_is_smooth():
    for term in (mesh_losses.laplacian, mesh_losses.normal_consistency):
        values = [float(term(*rough(12, amount))) for amount in (0.0, 0.02, 0.05)]
        assert values == sorted(values)


def test_the_silhouette_term_counts_valid_pixels_only():
    generator = torch.Generator().manual_seed(0)
    coverage, mask = torch.rand(2, 9, 7, generator=generator)
    valid = torch.rand(9, 7, generator=generator) > 0.4
    expected = sum(float((coverage[i, j] - mask[i, j]) ** 2) for i, j in valid.nonzero().tolist()) / int(valid.sum())
    assert float(mesh_losses.silhouette(coverage, mask, valid)) == pytest.approx(expected, rel=1e-5)
    assert float(mesh_losses.silhouette(coverage, mask, torch.zeros_like(valid))) == 0
    spoilt = torch.where(valid, coverage, 1e6)
    assert float(mesh_losses.silhouette(spoilt, mask, valid)) == pytest.approx(expected, rel=1e-5)


def test_silhouette_and_shading_have_the_gradient_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    mask, valid = torch.rand(5, 4, generator=generator).double(), torch.rand(5, 4, generator=generator) > 0.3
    coverage = torch.rand(5, 4, generator=generator).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda c: mesh_losses.silhouette(c, mask, valid), coverage)
    colours = torch.rand(6, 3, generator=generator).double().requires_grad_()
    seen = torch.rand(6, 3, generator=generator).double()
    assert torch.autograd.gradcheck(lambda c: mesh_losses.shading(c, seen), colours)


def test_shading_is_the_mean_absolute_difference_and_nothing_where_nothing_is_seen():
    assert float(
        mesh_losses.shading(torch.tensor([[0.2, 0.5, 0.9]]), torch.tensor([[0.1, 0.8, 0.9]]))
    ) == pytest.approx(0.4 / 3)
    assert float(mesh_losses.shading(torch.zeros(0, 3), torch.zeros(0, 3))) == 0


def test_the_share_of_pixels():
    shown = torch.rand(20, 30, generator=torch.Generator().manual_seed(0)) > 0.5
    rows, columns = mesh_losses.shaded_pixels(shown, 0.75, 10**6, torch.Generator().manual_seed(1))
    assert len(rows) == round(0.75 * int(shown.sum()))
    assert bool(shown[rows, columns].all())
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == len(rows)
    assert len(mesh_losses.shaded_pixels(shown, 0.75, 7, torch.Generator())[0]) == 7
    again = mesh_losses.shaded_pixels(shown, 0.75, 10**6, torch.Generator().manual_seed(1))
    assert torch.equal(rows, again[0])
    assert len(mesh_losses.shaded_pixels(shown & False, 1.0, 9, torch.Generator())[0]) == 0


def optimisation(**changes):
    """A coarse state whose gradients are looked at."""
    scene = ringed(*bumpy(), views=6, size_px=48)
    views = multiview(scene.images, scene.masks, torch.ones_like(scene.masks), scene.K_px, scene.T_camera_world)
    views, vertices, triangles = visual_hull(views, 10)
    vertices, triangles = remesh(vertices, triangles, 0.25)
    torch.manual_seed(0)
    config = MeshConfig(shader=NeuralShaderConfig(width=24, hidden_layers=1, view_width=16), **changes)
    return _Optimisation(views, config, NeuralShader(config.shader), vertices, triangles)


@pytest.mark.parametrize(
    ("name", "reaches_shader"),
    [("silhouette", False), ("shading", True), ("laplacian", False), ("normal_consistency", False)],
)
def test_each_term_reaches_what_it_declares(name, reaches_shader):
    state = optimisation()
    state.terms(1)[name].backward()
    assert state.vertices.grad is not None
    assert float(state.vertices.grad.abs().max()) > 0
    gradients = [p.grad for p in state.shader.parameters()]
    assert all(g is None for g in gradients) != reaches_shader
    if reaches_shader:
        assert all(float(g.abs().max()) > 0 for g in gradients)


def test_the_terms_are_those_that_have_weights():
    assert optimisation().terms(0).keys() == vars(MeshWeights()).keys()


@pytest.mark.parametrize("name", ["silhouette", "shading"])
def test_rendered_terms_have_about_the_gradient_of_finite_differences(name):
    """Along a growth of the whole mesh, wide enough to cross many pixels; 10 % for what a hard z-buffer leaves out.

    Shading is compared well inside the masks, because a pixel that enters or leaves the comparison has no gradient.
    """
    state = optimisation(shading_share=1.0)
    if name == "shading":
        state.views.masks[:] = -torch.nn.functional.max_pool2d(-state.views.masks[:, None], 13, 1, 6)[:, 0]
        assert int((state.views.masks > 0.5).sum((1, 2)).min()) > 30
    centre = state.vertices.detach().clone()
    step = 4e-3

    def value(amount):
        with torch.no_grad():
            state.vertices.copy_(centre * (1 + amount))
        return torch.stack([state.terms(view)[name] for view in range(6)]).sum()

    numeric = float((value(step) - value(-step)).detach()) / (2 * step)
    slopes = []
    for amount in torch.linspace(-step, step, 9).tolist():
        state.vertices.grad = None
        value(amount).backward()
        slopes.append(float((state.vertices.grad * centre).sum()))
    assert sum(slopes) / len(slopes) == pytest.approx(numeric, rel=0.1)


def test_what_is_not_valid_pulls_at_nothing():
    state = optimisation()
    state.views.valid[1] = False
    terms = state.terms(1)
    assert float(terms["silhouette"]) == float(terms["shading"]) == 0


def test_remeshing_halves_the_edges_and_changes_weights_and_rate():
    state = optimisation(vertex_rate=1e-3)
    before, optimiser = len(state.vertices), state.vertex_optimiser
    state._refine()
    assert 3 < len(state.vertices) / before < 5.5
    assert (state.weights.laplacian, state.weights.normal_consistency) == pytest.approx((160.0, 0.4))
    assert (state.weights.silhouette, state.weights.shading) == (2.0, 1.0)
    assert state.rate == pytest.approx(0.75e-3)
    assert state.vertex_optimiser is not optimiser
    assert state.vertex_optimiser.param_groups[0]["lr"] == state.rate
    assert not state.vertex_optimiser.state


def test_every_view_comes_once_before_any_comes_again():
    state = optimisation()
    assert sorted(state._next_view() for _ in range(6)) == list(range(6))


def test_the_shader_has_the_size_of_the_facts_and_its_output_is_a_colour():
    shader = NeuralShader()
    assert sum(p.numel() for p in shader.parameters()) == 320_899
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(50, 3, generator=generator) for _ in range(3)]
    colours = shader(*inputs)
    assert colours.shape == (50, 3)
    assert 0 < float(colours.min()) < float(colours.max()) < 1


def test_the_shader_has_the_gradient_of_finite_differences():
    shader = NeuralShader(NeuralShaderConfig(octaves=2, width=8, hidden_layers=1, view_width=6)).double()
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(4, 3, generator=generator).double().requires_grad_() for _ in range(3)]
    assert torch.autograd.gradcheck(shader, inputs)


def test_positional_encoding_equals_the_definition():
    points = torch.tensor([[0.3, -0.7, 1.0], [0.0, 0.5, -0.2]])
    found = positional_encoding(points, 4)
    assert found.shape == (2, 27)
    expected = [
        [*p, *[f(torch.pi * 2**k * x) for f in (torch.sin, torch.cos) for k in range(4) for x in p]] for p in points
    ]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-5)
    assert torch.equal(positional_encoding(points, 0), points)


def test_the_presets_and_the_values_of_the_paper():
    assert MESH_PRESETS.keys() == {"draft", "standard", "paper"}
    paper = MESH_PRESETS["paper"]
    assert (paper.iterations, paper.remesh_at, paper.weight_growth, paper.rate_decay) == (
        2000,
        (500, 1000, 1500),
        4,
        0.75,
    )
    assert (paper.vertex_rate, paper.shader_rate, paper.shading_share, paper.hull_cells) == (1e-3, 1e-3, 0.75, 32)
    assert vars(paper.weights) == {"silhouette": 2, "shading": 1, "laplacian": 40, "normal_consistency": 0.1}
