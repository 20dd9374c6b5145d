// A recorded performance: played, looped, looked at anywhere.
import { between, poseOf } from "./pose.js";

export class Motion {
  constructor(record, targetNames) {
    Object.assign(this, record);
    this.targetNames = targetNames;
    this.times = record.times_s;
    this.playing = false;
    this.loop = true;
    this.time = 0;
  }

  get duration() {
    return this.times[this.times.length - 1];
  }

  /** Let seconds go by; at the end it starts again or stops. */
  advance(seconds) {
    if (!this.playing) return;
    this.time += seconds;
    if (this.time <= this.duration) return;
    if (this.loop && this.duration > 0) {
      this.time %= this.duration;
    } else {
      this.time = this.duration;
      this.playing = false;
    }
  }

  /** Weights by target name and the poses at the present time, between the frames beside it. */
  state() {
    const [before, after, share] = this._frames();
    const weights = {};
    this.targetNames.forEach((name, index) => {
      const from = this.weights[before][index];
      weights[name] = from + share * (this.weights[after][index] - from);
    });
    const pose = (rows) => poseOf(between(rows[before], rows[after], share));
    return { weights, skull: pose(this.skull), shoulders: pose(this.shoulders) };
  }

  _frames() {
    let [low, high] = [0, this.times.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= this.time) low = middle;
      else high = middle;
    }
    const step = this.times[high] - this.times[low];
    const share = step > 0 ? Math.min(Math.max((this.time - this.times[low]) / step, 0), 1) : 0;
    return [low, high, share];
  }
}
