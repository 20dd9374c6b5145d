// The dynamic texture network, run by ONNX Runtime in this browser for every new expression or direction of view.
import { DataTexture, DataUtils, HalfFloatType, LinearFilter, LinearMipmapLinearFilter, RGBAFormat } from "three";
import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import { readBytes } from "./files.js";

export class Network {
  static async load(described, output) {
    // One thread, because more need headers that a plain static server does not send.
    env.wasm.numThreads = 1;
    env.wasm.wasmBinary = await readBytes(described.engine);
    const session = await InferenceSession.create(await readBytes(described.file), { executionProviders: ["wasm"] });
    return new Network(session, described, output);
  }

  constructor(session, described, output) {
    this.session = session;
    this.described = described;
    this.output = output;
    this.arkit = new Float32Array(described.arkit_names.length);
    this.pose = new Float32Array(16);
    this.last = null;
    this.milliseconds = 0;
    this.runs = 0;
    this.texture = null;
  }

  /** Paint for ARKit weights by name and the pose of the head before the viewing camera (`T_camera_head` of pose.js). */
  async paint(weights, pose) {
    this.described.arkit_names.forEach((name, index) => (this.arkit[index] = weights[name] ?? 0));
    this.pose.set(pose);
    const now = Float32Array.from([...this.arkit, ...this.pose]);
    if (this.last?.every((value, index) => value === now[index])) return; // the same input paints the same picture
    const started = performance.now();
    const painted = await this.run(this.arkit, this.pose);
    this._upload(painted.data, painted.dims);
    this.milliseconds = performance.now() - started;
    this.runs++;
    this.last = now;
  }

  /** The network's raw output for 52 weights and a row-major 4x4 pose. */
  async run(arkit, pose) {
    const feeds = {
      [this.described.arkit]: new Tensor("float32", Float32Array.from(arkit), [1, arkit.length]),
      [this.described.pose]: new Tensor("float32", Float32Array.from(pose), [1, 4, 4]),
    };
    return (await this.session.run(feeds))[this.output];
  }

  _upload(planes, [, channels, rows, columns]) {
    const area = rows * columns;
    this.texture ??= texture(rows, columns);
    const texels = this.texture.image.data;
    for (let channel = 0; channel < channels; channel++) {
      for (let i = 0, from = channel * area; i < area; i++) {
        texels[4 * i + channel] = DataUtils.toHalfFloat(planes[from + i]);
      }
    }
    this.texture.needsUpdate = true;
  }
}

function texture(rows, columns) {
  // Half precision: filtered and given mipmaps by every WebGL 2, with 11 bits for values near one.
  const made = new DataTexture(new Uint16Array(4 * rows * columns), columns, rows, RGBAFormat, HalfFloatType);
  made.minFilter = LinearMipmapLinearFilter;
  made.magFilter = LinearFilter;
  made.generateMipmaps = true;
  return made;
}
