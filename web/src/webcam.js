// The webcam as a source of expressions: MediaPipe's face landmarker, from files beside the page and nowhere else.
import { Matrix4 } from "three";

export class Webcam {
  constructor({ folder, model }, video) {
    this.files = { folder: `./${folder}`, module: `./${folder}/vision_bundle.mjs`, model: `./${folder}/${model}` };
    this.video = video;
    this.detector = null;
    this.lastTime = -1;
    this.found = null;
  }

  /** Load the detector and start the camera; throws with a sentence that says what to do. */
  async start() {
    await this._check();
    try {
      const vision = await import(new URL(this.files.module, document.baseURI).href);
      const fileset = await vision.FilesetResolver.forVisionTasks(new URL(this.files.folder, document.baseURI).href);
      this.detector = await vision.FaceLandmarker.createFromOptions(fileset, {
        baseOptions: { modelAssetPath: new URL(this.files.model, document.baseURI).href },
        runningMode: "VIDEO",
        outputFaceBlendshapes: true,
        outputFacialTransformationMatrixes: true,
      });
    } catch (error) {
      const [reason] = String(error.message ?? error).split("\n"); // traces of its sources follow
      throw new Error(`The face detector in ${this.files.folder} does not start: ${reason}`);
    }
    await this._open();
  }

  async _open() {
    if (!navigator.mediaDevices) {
      throw new Error("Browsers give the webcam to pages on https or localhost only; open the page from there.");
    }
    try {
      this.video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
    } catch (error) {
      throw new Error(`The webcam cannot be opened (${error.name}); allow it for this page and press again.`);
    }
    await this.video.play();
  }

  stop() {
    this.video.srcObject?.getTracks().forEach((track) => track.stop());
    this.video.srcObject = null;
    this.detector?.close?.();
    this.detector = null;
  }

  /** Weights by ARKit name and the head's rotation before the webcam (Matrix4), or null before a face is seen. */
  state() {
    if (this.detector && this.video.readyState >= 2 && this.video.currentTime !== this.lastTime) {
      this.lastTime = this.video.currentTime;
      const result = this.detector.detectForVideo(this.video, performance.now());
      const [face] = result.faceBlendshapes ?? [];
      if (face) this.found = { weights: weightsOf(face.categories), rotation: rotationOf(result) };
    }
    return this.found;
  }

  async _check() {
    for (const name of [this.files.module, this.files.model]) {
      const response = await fetch(name, { method: "HEAD" }).catch(() => null);
      if (response?.ok) continue;
      throw new Error(
        `The webcam needs ${name.slice(2)} in this folder: put the files of MediaPipe's npm package ` +
          `@mediapipe/tasks-vision (vision_bundle.mjs and the content of its folder wasm) and Google's ` +
          `face_landmarker.task into ${this.files.folder.slice(2)}/, then press again.`,
      );
    }
  }
}

function weightsOf(categories) {
  return Object.fromEntries(categories.map(({ categoryName, score }) => [categoryName, score]));
}

/** The turning part of the transformation that the detector found; its axes are the scene's. */
function rotationOf(result) {
  const [found] = result.facialTransformationMatrixes ?? [];
  return found ? new Matrix4().extractRotation(new Matrix4().fromArray(found.data)) : new Matrix4();
}
