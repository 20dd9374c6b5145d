// Rigid poses in the scene's axes (x right, y up, z towards the viewer) and what the network is told of them.
import { Euler, MathUtils, Matrix4, Quaternion, Vector3 } from "three";

const FLIP = new Matrix4().makeScale(1, -1, -1);

/** Pose of the head in OpenCV's camera axes, row by row, from the camera's view matrix and the skull's pose. */
export function cameraFromHead(viewMatrix, skull) {
  const pose = new Matrix4().multiplyMatrices(FLIP, viewMatrix).multiply(skull);
  return pose.transpose().elements;
}

/** The pose in a row of position and quaternion. */
export function poseOf(row) {
  return new Matrix4().compose(
    new Vector3(row[0], row[1], row[2]),
    new Quaternion(row[3], row[4], row[5], row[6]),
    new Vector3(1, 1, 1),
  );
}

/** Between two rows of position and quaternion. */
export function between(before, after, share) {
  const turn = new Quaternion(...before.slice(3)).slerp(new Quaternion(...after.slice(3)), share);
  const place = new Vector3(...before.slice(0, 3)).lerp(new Vector3(...after.slice(0, 3)), share);
  return [...place.toArray(), ...turn.toArray()];
}

/** A turn about a point: positive yaw to the person's left, positive pitch down, positive roll to their right shoulder. */
export function turnedAbout(pivot, { yaw, pitch, roll }) {
  const turn = new Euler(...[pitch, yaw, roll].map(MathUtils.degToRad), "YXZ");
  return aboutPivot(pivot, new Matrix4().makeRotationFromEuler(turn));
}

/** A rotation about a point instead of the origin. */
export function aboutPivot(pivot, rotation) {
  const there = new Matrix4().makeTranslation(...pivot);
  return there.multiply(rotation).multiply(new Matrix4().makeTranslation(...pivot.map((value) => -value)));
}
