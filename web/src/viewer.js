// Everything of one page together.
import { Color, Group, LinearSRGBColorSpace, Matrix4, Mesh, PerspectiveCamera, Scene, Vector3, WebGLRenderer } from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { accessories } from "./accessories.js";
import { readRecord, readTensors, readTexture } from "./files.js";
import { Head } from "./head.js";
import { headMaterial, Light } from "./material.js";
import { Motion } from "./motion.js";
import { Network } from "./network.js";
import { buildPanel } from "./panel.js";
import { aboutPivot, cameraFromHead, turnedAbout } from "./pose.js";
import { Webcam } from "./webcam.js";

const BACKGROUND = [0.17, 0.184, 0.212];
const FIELD_OF_VIEW_DEG = 24;
const STILL = { yaw: 0, pitch: 0, roll: 0 };
const AVERAGED = 30; // frames over which the rate is averaged

export class Viewer {
  /** Load the avatar beside the page. */
  static async open(document) {
    const avatar = await readRecord("avatar.json", "headstudio.web_avatar", 2);
    const [tensors, worn, base, motion] = await Promise.all([
      readTensors(avatar.head),
      readTensors(avatar.accessories.file),
      readTexture(avatar.texture),
      avatar.motion && readRecord(avatar.motion, "headstudio.web_motion", 1),
    ]);
    const painting = avatar.repainting;
    const network = painting && (await Network.load(painting.network, painting.output));
    const blend = painting && (await readTexture(painting.blend));
    document.title = avatar.name;
    const viewer = new Viewer(document, avatar, tensors, motion, worn);
    await viewer._dress({ base, blend, network, residual: painting?.residual });
    return viewer;
  }

  constructor(document, avatar, tensors, motion, worn) {
    this.document = document;
    this.head = new Head(tensors, avatar.target_names);
    this.motion = motion && new Motion(motion, avatar.target_names);
    this.light = new Light(avatar.light_sh);
    this.webcam = new Webcam(avatar.webcam, document.getElementById("webcam"));
    this.watching = false;
    this.weights = Object.fromEntries(avatar.target_names.map((name) => [name, 0]));
    this.turn = { ...STILL };
    this.pose = { skull: new Matrix4(), shoulders: new Matrix4() };
    this.source = "sliders";
    this.pivot = [...tensors.joint_positions_m.slice(0, 3)];
    this.frames = [];
    this.target = new Vector3(...avatar.look_at_m);
    this.accessories = accessories(avatar.accessories.surfaces, worn, this.light);
    this._stage();
  }

  /** Show one frame now and wait until it is drawn: for scripts that want a certain state. */
  async show(weights = {}, turn = {}) {
    Object.assign(this.weights, weights);
    Object.assign(this.turn, turn);
    this.source = "sliders";
    await this._draw(0);
  }

  /** Draw again and again. */
  run() {
    let before = performance.now();
    const next = async (now) => {
      try {
        await this._draw((now - before) / 1000);
      } catch (error) {
        this.document.getElementById("message").textContent = `The page stopped: ${error.message}`;
        throw error;
      }
      before = now;
      this._count(now);
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  }

  /** Frames a second over the last frames. */
  get rate() {
    const { frames } = this;
    return frames.length < 2 ? 0 : (1000 * (frames.length - 1)) / (frames[frames.length - 1] - frames[0]);
  }

  _stage() {
    const canvas = this.document.getElementById("view");
    this.renderer = new WebGLRenderer({ canvas, antialias: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.outputColorSpace = LinearSRGBColorSpace; // the shaders write sRGB themselves
    this.renderer.setClearColor(new Color().setRGB(...BACKGROUND, LinearSRGBColorSpace));
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD_OF_VIEW_DEG, 1, 0.05, 20);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enablePan = false;
    this.controls.minDistance = 0.25;
    this.controls.maxDistance = 3;
    this.look();
    this.skull = new Group().add(...Object.values(this.accessories));
    this.skull.matrixAutoUpdate = false;
    this.scene.add(this.skull);
    window.addEventListener("resize", () => this._resize());
    this._resize();
  }

  /** Look from the front, or from aside (positive: the camera moves to the picture's right) and above. */
  look(yawDegrees = 0, pitchDegrees = 0, metres = 0.78) {
    const [yaw, pitch] = [yawDegrees, pitchDegrees].map((angle) => (angle * Math.PI) / 180);
    this.controls.target.copy(this.target);
    this.camera.position
      .set(Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch))
      .multiplyScalar(metres)
      .add(this.controls.target);
    this.controls.update();
  }

  _resize() {
    const { clientWidth: width, clientHeight: height } = this.renderer.domElement;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
  }

  async _dress({ base, blend, network, residual }) {
    this.network = network;
    this.camera.updateMatrixWorld();
    await this._paint(); // so that there is a picture when the material asks for it
    const layers = { base, blend, residual, painted: network?.texture };
    for (const [geometry, transparent] of [[this.head.opaque, false], [this.head.transparent, true]]) {
      const mesh = new Mesh(geometry, headMaterial(this.light, layers, transparent));
      mesh.frustumCulled = false; // its bounds move
      mesh.visible = geometry.index.count > 0;
      this.scene.add(mesh);
    }
    this.panel = buildPanel(
      this.document.getElementById("panel"),
      { names: this.head.targetNames, motion: this.motion, turnable: this.light.given, accessories: Object.keys(this.accessories) }, // prettier-ignore
      this._handlers(),
    );
    await this._draw(0);
  }

  _handlers() {
    return {
      weight: (name, value) => this._byHand(() => (this.weights[name] = value)),
      turn: (name, value) => this._byHand(() => (this.turn[name] = value)),
      reset: () => this._byHand(() => this._rest()),
      lightTurn: (degrees) => this.light.turn((degrees * Math.PI) / 180),
      brightness: (value) => (this.light.brightness = value),
      accessory: (name, shown) => (this.accessories[name].visible = shown),
      play: (playing) => {
        this.source = "motion";
        this.motion.playing = playing;
        if (playing && this.motion.time >= this.motion.duration) this.motion.time = 0;
      },
      loop: (loop) => (this.motion.loop = loop),
      seek: (time) => {
        this.source = "motion";
        this.motion.time = time;
      },
      webcam: () => this._toggleWebcam(),
    };
  }

  _byHand(change) {
    this.source = "sliders";
    if (this.motion) this.motion.playing = false;
    change();
  }

  _rest() {
    for (const name of Object.keys(this.weights)) this.weights[name] = 0;
    Object.assign(this.turn, STILL);
    this.panel.show({ ...this.weights, ...this.turn });
    this.look();
  }

  async _toggleWebcam() {
    const message = this.document.getElementById("message");
    message.textContent = "";
    if (this.watching) {
      this.webcam.stop();
      this.watching = false;
      this.source = "sliders";
    } else {
      try {
        message.textContent = "Starting the webcam …";
        await this.webcam.start();
        this.watching = true;
        this.source = "webcam";
        message.textContent = "";
      } catch (error) {
        message.textContent = error.message;
      }
    }
    this.panel.webcam(this.watching);
  }

  /** One frame after another, whoever asks. */
  _draw(seconds) {
    this.drawing = (this.drawing ?? Promise.resolve()).then(() => this._drawNow(seconds));
    return this.drawing;
  }

  async _drawNow(seconds) {
    this._drive(seconds);
    this.controls.update();
    this.camera.updateMatrixWorld();
    await this._paint();
    this.head.update(this.weights, this.pose.skull, this.pose.shoulders);
    this.skull.matrix.copy(this.pose.skull);
    this.renderer.render(this.scene, this.camera);
  }

  _drive(seconds) {
    if (this.source === "motion") {
      this.motion.advance(seconds);
      const { weights, skull, shoulders } = this.motion.state();
      this._take(weights, skull, shoulders);
      this.panel.show({ time: this.motion.time, ...weights }, this.motion.playing);
      return;
    }
    const seen = this.source === "webcam" ? this.webcam.state() : null;
    if (seen) {
      this._take(seen.weights, aboutPivot(this.pivot, seen.rotation), new Matrix4());
      this.panel.show(seen.weights);
    } else {
      this._take({}, turnedAbout(this.pivot, this.turn), new Matrix4());
      this.panel?.show({});
    }
  }

  _take(weights, skull, shoulders) {
    for (const name of this.head.targetNames) if (name in weights) this.weights[name] = weights[name];
    this.pose = { skull, shoulders };
  }

  async _paint() {
    const pose = cameraFromHead(this.camera.matrixWorldInverse, this.pose.skull);
    await this.network?.paint(this.weights, pose);
  }

  _count(now) {
    this.frames.push(now);
    if (this.frames.length > AVERAGED) this.frames.shift();
    const network = this.network ? `, network ${this.network.milliseconds.toFixed(0)} ms` : "";
    this.document.getElementById("rate").textContent = `${this.rate.toFixed(0)} frames/s${network}`;
  }
}
