// How a surface point gets its colour: textures mixed in sRGB, light multiplied in linear light, as the Python renderer does.
import { DoubleSide, Matrix3, ShaderMaterial, Vector3 } from "three";

const VERTEX = `
  varying vec2 atlas;
  varying vec3 normalScene;
  #ifdef PLAIN
    varying vec3 tint;
    attribute vec3 color;
  #endif
  void main() {
    atlas = uv;
    normalScene = mat3(modelMatrix) * normal;
    #ifdef PLAIN
      tint = color;
    #endif
    gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
  }`;

const FRAGMENT = `
  varying vec2 atlas;
  varying vec3 normalScene;
  uniform mat3 lightFromScene;
  uniform vec3 light[9];
  uniform float brightness;
  #ifdef PLAIN
    varying vec3 tint;
    uniform float alpha;
  #else
    uniform sampler2D base;
    #ifdef REPAINTED
      uniform sampler2D blend;
      uniform sampler2D painted;
    #endif
  #endif

  vec3 linearOf(vec3 colour) {
    return mix(pow((max(colour, 0.04045) + 0.055) / 1.055, vec3(2.4)), colour / 12.92, vec3(lessThanEqual(colour, vec3(0.04045))));
  }
  vec3 srgbOf(vec3 colour) {
    return mix(1.055 * pow(max(colour, 0.0031308), vec3(1.0 / 2.4)) - 0.055, colour * 12.92, vec3(lessThanEqual(colour, vec3(0.0031308))));
  }
  vec3 irradiance(vec3 n) {
    vec3 sum = 0.28209479177387814 * light[0]
      + 0.4886025119029199 * (n.y * light[1] + n.z * light[2] + n.x * light[3])
      + 1.0925484305920792 * (n.x * n.y * light[4] + n.y * n.z * light[5] + n.x * n.z * light[7])
      + 0.31539156525252 * (3.0 * n.z * n.z - 1.0) * light[6]
      + 0.5462742152960396 * (n.x * n.x - n.y * n.y) * light[8];
    return max(sum, 0.0);
  }
  void main() {
    #ifdef PLAIN
      vec4 colour = vec4(tint, alpha);
    #else
      vec4 colour = texture2D(base, atlas);
      #ifdef REPAINTED
        vec3 paint = texture2D(painted, atlas).rgb;
        #ifndef RESIDUAL
          paint = 1.0 / (1.0 + exp(-paint)) - colour.rgb;
        #endif
        colour.rgb += texture2D(blend, atlas).r * paint;
      #endif
    #endif
    vec3 n = lightFromScene * normalize(normalScene);
    #ifdef FACING
      if (!gl_FrontFacing) n = -n;
    #endif
    colour.rgb = srgbOf(linearOf(colour.rgb) * irradiance(n) * brightness);
    gl_FragColor = clamp(colour, 0.0, 1.0);
  }`;

/** Uniform light that leaves colours as they are. */
const NEUTRAL = [1 / 0.28209479177387814, 0, 0, 0, 0, 0, 0, 0, 0].map((value) => [value, value, value]);

/** The light that all materials share: harmonics in the axes of the camera that filmed, turned about the vertical. */
export class Light {
  constructor(coefficients) {
    this.given = coefficients !== null;
    this.uniforms = {
      lightFromScene: { value: new Matrix3() },
      light: { value: (coefficients ?? NEUTRAL).map((row) => new Vector3(...row)) },
      brightness: { value: 1 },
    };
    this.turn(0);
  }

  /** Turn the light about the scene's vertical; positive brings it from the picture's left over the front to the right. */
  turn(radians) {
    const [c, s] = [Math.cos(radians), Math.sin(radians)];
    // Back to the light's own place, then from the scene's axes (y up) to the camera's (y down, z forward).
    this.uniforms.lightFromScene.value.set(c, 0, -s, 0, -1, 0, -s, 0, -c);
  }

  set brightness(value) {
    this.uniforms.brightness.value = value;
  }
}

/** The head's material: `layers` has base and, where a network repaints, blend, painted and residual. */
export function headMaterial(light, layers, transparent = false) {
  const defines = {};
  const uniforms = { ...light.uniforms, base: { value: layers.base } };
  if (layers.painted) {
    defines.REPAINTED = "";
    if (layers.residual) defines.RESIDUAL = "";
    uniforms.blend = { value: layers.blend };
    uniforms.painted = { value: layers.painted };
  }
  return new ShaderMaterial({
    vertexShader: VERTEX,
    fragmentShader: FRAGMENT,
    defines,
    uniforms,
    transparent,
    depthWrite: !transparent,
    side: DoubleSide,
  });
}

/** Vertex colours under the same light, for accessories. */
export function plainMaterial(light, alpha = 1) {
  return new ShaderMaterial({
    vertexShader: VERTEX,
    fragmentShader: FRAGMENT,
    defines: { PLAIN: "", FACING: "" },
    uniforms: { ...light.uniforms, alpha: { value: alpha } },
    transparent: alpha < 1,
    depthWrite: alpha === 1,
    side: DoubleSide,
  });
}
