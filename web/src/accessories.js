// What the head may wear: meshes that the exporter has fitted to it.
import { BufferAttribute, BufferGeometry, Group, Mesh } from "three";
import { plainMaterial } from "./material.js";

/** The accessories of a head by name, from their description in avatar.json and the tensors it names; all hidden. */
export function accessories(surfaces, tensors, light) {
  const made = {};
  for (const [name, parts] of Object.entries(surfaces)) {
    const group = new Group();
    group.name = name;
    group.visible = false;
    for (const part of parts) {
      group.add(new Mesh(geometry(tensors, `${name}/${part.name}`), plainMaterial(light, part.opacity)));
    }
    made[name] = group;
  }
  return made;
}

function geometry(tensors, place) {
  const made = new BufferGeometry();
  made.setAttribute("position", new BufferAttribute(tensors[`${place}/vertices_m`], 3));
  made.setAttribute("color", new BufferAttribute(tensors[`${place}/colours`], 3, true));
  made.setIndex(new BufferAttribute(Uint32Array.from(tensors[`${place}/triangles`]), 1));
  made.computeVertexNormals();
  return made;
}
