// The head's mesh: moved and given its normals on the CPU, so that light falls on the moved surface.
import { BufferAttribute, BufferGeometry, DynamicDrawUsage } from "three";

export class Head {
  constructor(tensors, targetNames) {
    Object.assign(this, tensors);
    this.targetNames = targetNames;
    const vertices = this.vertices_m.length / 3;
    this.expressed = new Float32Array(3 * vertices);
    this.posed = new Float32Array(3 * vertices);
    this.normals = new Float32Array(3 * vertices);
    this.opaque = this._geometry(tensors.opaque);
    this.transparent = this._geometry(tensors.transparent);
  }

  /** Move the mesh: weights by target name, poses of skull and shoulders against rest (three's Matrix4). */
  update(weights, skull, shoulders) {
    this._express(weights);
    this._pose(skull.elements, shoulders.elements);
    this._sumNormals();
    this._scatter();
  }

  _geometry(index) {
    const corners = this.corner_vertex.length;
    const geometry = new BufferGeometry();
    // Both geometries show the same corners.
    this.position ??= new BufferAttribute(new Float32Array(3 * corners), 3).setUsage(DynamicDrawUsage);
    this.normal ??= new BufferAttribute(new Float32Array(3 * corners), 3).setUsage(DynamicDrawUsage);
    this.uv ??= new BufferAttribute(this.corner_uv, 2);
    geometry.setAttribute("position", this.position);
    geometry.setAttribute("normal", this.normal);
    geometry.setAttribute("uv", this.uv);
    geometry.setIndex(new BufferAttribute(new Uint32Array(index), 1));
    return geometry;
  }

  _express(weights) {
    const { expressed, target_start, target_vertex, target_displacement_m } = this;
    expressed.set(this.vertices_m);
    for (let target = 0; target < this.targetNames.length; target++) {
      const weight = weights[this.targetNames[target]] ?? 0;
      if (weight === 0) continue;
      for (let i = target_start[target]; i < target_start[target + 1]; i++) {
        const to = 3 * target_vertex[i];
        expressed[to] += weight * target_displacement_m[3 * i];
        expressed[to + 1] += weight * target_displacement_m[3 * i + 1];
        expressed[to + 2] += weight * target_displacement_m[3 * i + 2];
      }
    }
  }

  _pose(skull, shoulders) {
    const { expressed, posed, shoulder_weight } = this;
    const blended = new Float32Array(16);
    for (let vertex = 0, at = 0; vertex < shoulder_weight.length; vertex++, at += 3) {
      const share = shoulder_weight[vertex];
      let matrix = skull;
      if (share > 0) {
        for (let i = 0; i < 16; i++) blended[i] = skull[i] + share * (shoulders[i] - skull[i]);
        matrix = blended;
      }
      const x = expressed[at];
      const y = expressed[at + 1];
      const z = expressed[at + 2];
      for (let row = 0; row < 3; row++) {
        posed[at + row] = matrix[row] * x + matrix[4 + row] * y + matrix[8 + row] * z + matrix[12 + row];
      }
    }
  }

  /** Normals weighted by area over the triangles around each vertex; the shader brings them to length one. */
  _sumNormals() {
    const { posed, normals, triangles } = this;
    normals.fill(0);
    for (let i = 0; i < triangles.length; i += 3) {
      const [a, b, c] = [3 * triangles[i], 3 * triangles[i + 1], 3 * triangles[i + 2]];
      const ux = posed[b] - posed[a];
      const uy = posed[b + 1] - posed[a + 1];
      const uz = posed[b + 2] - posed[a + 2];
      const vx = posed[c] - posed[a];
      const vy = posed[c + 1] - posed[a + 1];
      const vz = posed[c + 2] - posed[a + 2];
      const x = uy * vz - uz * vy;
      const y = uz * vx - ux * vz;
      const z = ux * vy - uy * vx;
      for (const corner of [a, b, c]) {
        normals[corner] += x;
        normals[corner + 1] += y;
        normals[corner + 2] += z;
      }
    }
    for (let at = 0; at < normals.length; at += 3) {
      const length = Math.hypot(normals[at], normals[at + 1], normals[at + 2]) || 1;
      normals[at] /= length;
      normals[at + 1] /= length;
      normals[at + 2] /= length;
    }
  }

  _scatter() {
    const { corner_vertex, posed, normals } = this;
    const [position, normal] = [this.position.array, this.normal.array];
    for (let corner = 0, to = 0; corner < corner_vertex.length; corner++) {
      let from = 3 * corner_vertex[corner];
      for (const end = from + 3; from < end; from++, to++) {
        position[to] = posed[from];
        normal[to] = normals[from];
      }
    }
    this.position.needsUpdate = true;
    this.normal.needsUpdate = true;
  }
}
