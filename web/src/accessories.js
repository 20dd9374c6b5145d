// Glasses, a hat and another hair, made of formulas to the head's measure.
import {
  BufferAttribute,
  CatmullRomCurve3,
  CircleGeometry,
  Group,
  LatheGeometry,
  Mesh,
  SphereGeometry,
  TubeGeometry,
  Vector2,
  Vector3,
} from "three";
import { plainMaterial } from "./material.js";

const FRAME = [0.07, 0.06, 0.06];
const LENS = [0.55, 0.62, 0.66];
const FELT = [0.16, 0.18, 0.24];
const RIBBON = [0.42, 0.12, 0.12];
const HAIR = [0.26, 0.15, 0.08];
const WIRE_M = 0.0016;
const RIM_OF_EYES = 0.4; // width of half a lens against the distance of the eyes
const RIM_SHARE = 0.82; // height of a rim against its width
const HAIR_M = 0.016; // how far hair stands off the head

/** The accessories of a head by name; all hidden. */
export function accessories(size, light) {
  const made = { glasses: glasses(size, light), hat: hat(size, light), hair: hair(size, light) };
  for (const [name, group] of Object.entries(made)) {
    group.name = name;
    group.visible = false;
  }
  return made;
}

function glasses({ eyes, eyeY, bridge, temples, middle }, light) {
  const group = new Group();
  const z = Math.max(bridge + 0.003, ...eyes.map((eye) => eye[2] + 0.02));
  const y = eyeY - 0.002;
  const reach = RIM_OF_EYES * Math.abs(eyes[0][0] - eyes[1][0]);
  const [frame, lens] = [plainMaterial(light), plainMaterial(light, 0.12)];
  const wire = (points, closed = false) =>
    group.add(new Mesh(tinted(new TubeGeometry(curve(points, closed), 48, WIRE_M, 8, closed), FRAME), frame));
  for (const eye of eyes) {
    const side = Math.sign(eye[0] - middle) || 1;
    const rim = [];
    for (let i = 0; i < 24; i++) {
      const angle = (2 * Math.PI * i) / 24;
      rim.push([eye[0] + reach * rounded(Math.cos(angle)), y + reach * RIM_SHARE * rounded(Math.sin(angle)), z]);
    }
    wire(rim, true);
    const outer = eye[0] + side * reach;
    const beside = Math.max(temples + 0.003, (outer - middle) * side + 0.006);
    wire([
      [outer, y + 0.006, z],
      [outer + side * 0.007, y + 0.006, z - 0.004],
      [middle + side * beside, y + 0.006, z - 0.05],
      [middle + side * beside, y + 0.004, z - 0.1],
      [middle + side * (beside - 0.002), y - 0.02, z - 0.12],
    ]);
    const glass = new Mesh(tinted(new CircleGeometry(reach, 32), LENS), lens);
    glass.scale.y = RIM_SHARE;
    glass.position.set(eye[0], y, z);
    group.add(glass);
  }
  const [from, to] = eyes.map((eye) => eye[0] - (Math.sign(eye[0] - middle) || 1) * reach);
  wire([[from, y + 0.003, z], [middle, y + 0.007, z + 0.001], [to, y + 0.003, z]]);
  return group;
}

/** Between a circle and a square. */
function rounded(value) {
  return Math.sign(value) * Math.abs(value) ** 0.8;
}

function hat({ eyeY, top, front, back, centre, halfWidth, middle }, light) {
  const group = new Group();
  const depth = (front - back) / 2 + 0.006;
  const brim = eyeY + 0.05;
  const height = Math.max(top - brim + 0.025, 0.06);
  const lathe = (outline, colour) =>
    new Mesh(tinted(new LatheGeometry(outline.map(([r, h]) => new Vector2(r, h)), 64), colour), plainMaterial(light));
  const crown = [[1, 0], [0.99, 0.3 * height], [0.93, 0.85 * height], [0.8, height], [0.4, 0.97 * height], [1e-4, 0.95 * height]]; // prettier-ignore
  const edge = [[0.98, 0.001], [1.25, -0.006], [1.48, 0.004], [1.5, 0.007], [1.25, -0.002], [0.98, 0.005]]; // prettier-ignore
  group.add(lathe(crown, FELT), lathe(edge, FELT), lathe([[1.012, 0.004], [1.008, 0.022]], RIBBON)); // prettier-ignore
  group.position.set(middle, brim, centre);
  group.rotation.x = -0.12; // a little to the back of the head
  group.scale.set(halfWidth + 0.007, 1, depth);
  return group;
}

function hair({ eyeY, top, front, back, centre, halfWidth, middle }, light) {
  const crown = eyeY + 0.045;
  const radii = [halfWidth + HAIR_M, top - crown + HAIR_M, (front - back) / 2 + HAIR_M];
  const sphere = new SphereGeometry(1, 160, 64);
  const [places, colours] = [sphere.attributes.position, []];
  const outside = [];
  for (let i = 0; i < places.count; i++) {
    const [x, y, z] = [places.getX(i), places.getY(i), places.getZ(i)];
    const around = Math.atan2(x, z);
    const strand = Math.sin(61 * around) * 0.5 + Math.sin(23 * around + 3 * y) * 0.5;
    const swell = 1 + 0.012 * strand * Math.sqrt(1 - y * y);
    // Below the crown the hair hangs down to the nape.
    const fall = y < 0 ? 2.4 : 1;
    places.setXYZ(i, middle + radii[0] * x * swell, crown + radii[1] * y * fall, centre + radii[2] * z * swell);
    const shade = 1 + 0.25 * strand;
    colours.push(...HAIR.map((value) => value * shade));
    outside.push(isHair(x, y, z));
  }
  const index = [...sphere.index.array];
  const kept = [];
  for (let i = 0; i < index.length; i += 3) {
    const triangle = index.slice(i, i + 3);
    if (triangle.every((corner) => outside[corner])) kept.push(...triangle);
  }
  sphere.setIndex(kept);
  sphere.setAttribute("color", new BufferAttribute(new Float32Array(colours), 3));
  sphere.computeVertexNormals();
  return new Group().add(new Mesh(sphere, plainMaterial(light)));
}

/** Not before the face, and not below the nape. */
function isHair(x, y, z) {
  const hairline = z > 0.3 ? 0.3 - 0.12 * Math.abs(x) : -Infinity;
  return y > -0.75 && y > hairline;
}

function curve(points, closed) {
  return new CatmullRomCurve3(points.map((point) => new Vector3(...point)), closed);
}

/** The geometry with one colour (sRGB) at all its vertices. */
function tinted(geometry, colour) {
  const count = geometry.attributes.position.count;
  const colours = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) colours.set(colour, 3 * i);
  return geometry.setAttribute("color", new BufferAttribute(colours, 3));
}
