// Where things sit on a head, measured on its mesh at rest (metres, y up, face to +z).

/** Places and sizes that accessories need, from the vertices and the joints `eye_left` and `eye_right` where there are. */
export function measure(vertices, joints) {
  const points = [];
  for (let i = 0; i < vertices.length; i += 3) points.push([vertices[i], vertices[i + 1], vertices[i + 2]]);
  const left = joints.eye_left ?? [0.031, 0, 0];
  const right = joints.eye_right ?? [-left[0], left[1], left[2]];
  const eyes = [left, right];
  const eyeY = (left[1] + right[1]) / 2;
  const middle = (left[0] + right[0]) / 2;
  const top = Math.max(...points.map((p) => p[1]));
  const band = (low, high) => points.filter((p) => p[1] > eyeY + low && p[1] < eyeY + high);
  const brow = band(0.045, 0.065); // above the ears, below the crown
  const front = Math.max(...brow.map((p) => p[2]));
  const back = Math.min(...brow.map((p) => p[2]));
  const halfWidth = Math.max(...brow.map((p) => Math.abs(p[0] - middle)));
  const ridge = band(-0.012, 0.004).filter((p) => Math.abs(p[0] - middle) < 0.004);
  const bridge = Math.max(...ridge.map((p) => p[2]));
  const beside = band(-0.01, 0.02).filter((p) => Math.abs(p[2] - left[2] + 0.035) < 0.012); // before the ears
  const temples = Math.max(...beside.map((p) => Math.abs(p[0] - middle)));
  return { eyes, eyeY, middle, top, front, back, halfWidth, bridge, temples, centre: (front + back) / 2 };
}
