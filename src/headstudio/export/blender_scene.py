"""Makes scene.blend of a folder that `blender.py` has filled. Runs alone: inside Blender, or in a Python that has bpy.

Nothing of headstudio is imported here, and nothing of headstudio imports this.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

_SKIN = {"Roughness": 0.48, "Subsurface Weight": 0.12, "Subsurface Scale": 0.004, "Specular IOR Level": 0.4}
_SUBSURFACE_RADIUS = (1.0, 0.35, 0.2)  # red light goes deepest into skin
_EYES = {"Roughness": 0.15, "Specular IOR Level": 0.5, "Coat Weight": 0.4, "Coat Roughness": 0.03}
_LIGHTS = {  # place about the head in metres (right, towards the viewer, up), size in metres, watts
    "key light": ((-0.9, 1.2, 0.7), 0.6, 18.0),
    "fill light": ((1.1, 1.0, 0.1), 1.0, 6.0),
    "rim light": ((0.6, -1.1, 0.8), 0.5, 12.0),
}
_WORLD = (0.05, 0.055, 0.065)
_LENS_MM, _SENSOR_MM, _HEIGHT_M = 85.0, 36.0, 0.36  # the camera sees so much height at the head
_FINEST = 1e-4
_COLOURS = "colours"  # of accessories, a vertex


def main(folder: Path) -> None:
    """Build the scene and save it in the folder."""
    import bpy  # pyright: ignore[reportMissingImports]

    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    if recipe["schema"] != "headstudio.blender_scene" or recipe["schema_version"] != 1:
        raise SystemExit("this script and the recipe are of different versions of headstudio")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = recipe["fps"], 1.0  # the importer counts frames by the whole rate
    scene.frame_start, scene.frame_end = 1, recipe["frames"]
    head, armature = _import_head(bpy, folder, recipe)
    _dress(bpy, head, recipe, folder)
    _add_accessories(bpy, armature, recipe)
    _add_camera_and_lights(bpy, recipe)
    _set_rendering(bpy)
    scene.render.fps_base = recipe["fps_base"]
    scene.frame_set(1)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "scene.blend"), compress=True, relative_remap=False)


def _import_head(bpy: Any, folder: Path, recipe: dict[str, Any]) -> tuple[Any, Any]:
    bpy.ops.import_scene.gltf(filepath=str(folder / recipe["head"]), merge_vertices=True, disable_bone_shape=True)
    head = next(item for item in bpy.data.objects if item.type == "MESH" and item.data.shape_keys)
    armature = next(item for item in bpy.data.objects if item.type == "ARMATURE")
    for empty in [item for item in bpy.data.objects if item.type == "EMPTY"]:
        bpy.data.objects.remove(empty)  # the importer's stand-in for the mesh's node
    head.name = head.data.name = recipe["name"]
    armature.name = "skeleton"
    head["provenance"] = json.dumps(recipe["provenance"])
    for polygon in head.data.polygons:
        polygon.use_smooth = True
    # Normals of the file are those of the head at rest; Blender's own follow the shape keys.
    if "custom_normal" in head.data.attributes:
        head.data.attributes.remove(head.data.attributes["custom_normal"])
    for image in bpy.data.images:
        if image.packed_file:
            image.filepath_raw = f"//{image.name}.png"
    return head, armature


def _dress(bpy: Any, head: Any, recipe: dict[str, Any], folder: Path) -> None:
    skin = head.data.materials[0]
    _set(_shader(skin), {**_SKIN, "Subsurface Radius": _SUBSURFACE_RADIUS})
    if recipe["painted"]:
        _add_painted(bpy, skin, recipe["painted"], recipe["frames"], folder)
    eyes = skin.copy()
    eyes.name = "eyes"
    _set(_shader(eyes), {**_EYES, "Subsurface Weight": 0.0})
    head.data.materials.append(eyes)
    slot = len(head.data.materials) - 1
    groups = {head.vertex_groups[name].index for name in recipe["eye_joints"] if name in head.vertex_groups}
    weight = [sum(g.weight for g in vertex.groups if g.group in groups) for vertex in head.data.vertices]
    for polygon in head.data.polygons:
        if polygon.material_index == 0 and all(weight[vertex] > 1 - _FINEST for vertex in polygon.vertices):
            polygon.material_index = slot


def _shader(material: Any) -> Any:
    return next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")


def _set(shader: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        shader.inputs[name].default_value = value


def _add_painted(bpy: Any, material: Any, painted: dict[str, Any], frames: int, folder: Path) -> None:
    """Base colour = static texture, mixed with the picture of the frame where the blend mask says so."""
    nodes, links = material.node_tree.nodes, material.node_tree.links
    base_colour = _shader(material).inputs["Base Color"]
    static = base_colour.links[0].from_socket
    film = bpy.data.images.load(str(folder / painted["folder"] / painted["first"]))
    film.name, film.source = "painted", "SEQUENCE"
    # Beside the .blend in its final place, so that both can be moved together.
    film.filepath_raw = f"//{painted['final_folder']}/{painted['first']}"
    mask = bpy.data.images.load(str(folder / painted["blend"]))
    mask.name, mask.colorspace_settings.name = "blend mask", "Non-Color"
    mask.pack()
    mask.filepath_raw = f"//{painted['blend']}"
    pictures = []
    for row, image in enumerate((film, mask)):
        node = nodes.new("ShaderNodeTexImage")
        node.image, node.label, node.extension = image, image.name, "EXTEND"
        node.location = (-700, -300 * row - 300)
        pictures.append(node)
    user = pictures[0].image_user
    user.frame_duration, user.frame_start, user.frame_offset = frames, 1, 0
    user.use_auto_refresh = True
    mix = nodes.new("ShaderNodeMix")
    mix.data_type, mix.label, mix.location = "RGBA", "painted over static", (-350, 0)
    inputs = {socket.identifier: socket for socket in mix.inputs}
    links.new(pictures[1].outputs["Color"], inputs["Factor_Float"])
    links.new(static, inputs["A_Color"])
    links.new(pictures[0].outputs["Color"], inputs["B_Color"])
    links.new(next(s for s in mix.outputs if s.identifier == "Result_Color"), base_colour)


def _add_accessories(bpy: Any, armature: Any, recipe: dict[str, Any]) -> None:
    """Carried by the head bone and hidden, until somebody shows them."""
    collection = bpy.data.collections.new("accessories")
    bpy.context.scene.collection.children.link(collection)
    armature.data.pose_position = "REST"
    bpy.context.view_layer.update()
    for name, surfaces in recipe["accessories"].items():
        worn = _accessory(bpy, name, surfaces)
        collection.objects.link(worn)
        worn.parent, worn.parent_type, worn.parent_bone = armature, "BONE", recipe["head_joint"]
        bpy.context.view_layer.update()
        bone = armature.data.bones[recipe["head_joint"]]
        carried = armature.matrix_world @ bone.matrix_local
        carried.translation = armature.matrix_world @ bone.tail_local  # objects hang on a bone's end
        worn.matrix_parent_inverse = carried.inverted()
        worn.hide_render = worn.hide_viewport = True
    armature.data.pose_position = "POSE"


def _accessory(bpy: Any, name: str, surfaces: list[dict[str, Any]]) -> Any:
    mesh = bpy.data.meshes.new(name)
    vertices, triangles, slots, colours = [], [], [], []
    for slot, surface in enumerate(surfaces):
        start = len(vertices)
        vertices += [_from_gltf(place) for place in surface["vertices_m"]]
        triangles += [[start + corner for corner in triangle] for triangle in surface["triangles"]]
        slots += [slot] * len(surface["triangles"])
        for shade in surface["shade"] or [1.0] * len(surface["vertices_m"]):
            colours += [*(shade * value for value in surface["colour"]), 1.0]
        mesh.materials.append(_plain_material(bpy, surface))
    mesh.from_pydata(vertices, [], triangles)
    mesh.polygons.foreach_set("material_index", slots)
    mesh.polygons.foreach_set("use_smooth", [True] * len(slots))
    mesh.color_attributes.new(_COLOURS, "BYTE_COLOR", "POINT").data.foreach_set("color_srgb", colours)
    mesh.update()
    return bpy.data.objects.new(name, mesh)


def _plain_material(bpy: Any, surface: dict[str, Any]) -> Any:
    material = bpy.data.materials.new(surface["name"])
    material.use_nodes = True
    colour = [_linear(value) for value in surface["colour"]]
    shader = _shader(material)
    _set(shader, {"Base Color": (*colour, 1.0), "Roughness": surface["roughness"], "Alpha": surface["opacity"]})
    material.diffuse_color = (*colour, surface["opacity"])
    if surface["shade"]:
        node = material.node_tree.nodes.new("ShaderNodeVertexColor")
        node.layer_name, node.location = _COLOURS, (-300, 0)
        material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    if surface["opacity"] < 1 and hasattr(material, "surface_render_method"):
        material.surface_render_method = "BLENDED"
    return material


def _linear(srgb: float) -> float:
    return srgb / 12.92 if srgb <= 0.04045 else ((srgb + 0.055) / 1.055) ** 2.4


def _from_gltf(place: list[float]) -> tuple[float, float, float]:
    """y up to z up, as the importer does."""
    x, y, z = place
    return (x, -z, y)


def _add_camera_and_lights(bpy: Any, recipe: dict[str, Any]) -> None:
    from mathutils import Vector  # pyright: ignore[reportMissingImports]

    scene = bpy.context.scene
    target = Vector(_from_gltf(recipe["look_at_m"]))
    camera = bpy.data.cameras.new("camera")
    camera.lens, camera.sensor_width, camera.clip_start = _LENS_MM, _SENSOR_MM, 0.01
    item = bpy.data.objects.new("camera", camera)
    item.location = target + Vector((0, -_HEIGHT_M * _LENS_MM / _SENSOR_MM, 0))
    item.rotation_euler = (math.pi / 2, 0, 0)
    scene.collection.objects.link(item)
    scene.camera = item
    for name, ((right, near, up), size_m, watts) in _LIGHTS.items():
        light = bpy.data.lights.new(name, "AREA")
        light.size, light.energy = size_m, watts
        item = bpy.data.objects.new(name, light)
        item.location = target + Vector((right, -near, up))
        item.rotation_euler = (target - item.location).to_track_quat("-Z", "Y").to_euler()
        scene.collection.objects.link(item)
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (*_WORLD, 1.0)
    scene.world = world


def _set_rendering(bpy: Any) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 64
    scene.render.resolution_x = scene.render.resolution_y = 1024
    scene.view_settings.view_transform = "Standard"  # colours of the texture as they were filmed


if __name__ == "__main__":
    main(Path(sys.argv[-1]).resolve())
