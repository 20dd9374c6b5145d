// The files that `headstudio export --to web` writes beside the page.
import { LinearFilter, LinearMipmapLinearFilter, NoColorSpace, Texture } from "three";

const KINDS = { F32: Float32Array, I32: Int32Array, U8: Uint8Array };

/** A JSON record whose schema and version this page understands. */
export async function readRecord(name, schema, version) {
  const record = await (await fetched(name)).json();
  if (record.schema !== schema || record.schema_version > version) {
    throw new Error(`${name} is not a ${schema} that this page can read; export the avatar again.`);
  }
  return record;
}

/** The tensors of a safetensors file by name: flat typed arrays. */
export async function readTensors(name) {
  return tensorsOf(await (await fetched(name)).arrayBuffer(), name);
}

export function tensorsOf(buffer, name = "the file") {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  for (const [key, entry] of Object.entries(header)) {
    if (key === "__metadata__") continue;
    if (!(entry.dtype in KINDS)) throw new Error(`${name} holds ${entry.dtype}, which this page cannot read.`);
    const [from, to] = entry.data_offsets.map((offset) => offset + 8 + length);
    tensors[key] = new KINDS[entry.dtype](buffer.slice(from, to));
  }
  return tensors;
}

/** Bytes of a file. */
export async function readBytes(name) {
  return new Uint8Array(await (await fetched(name)).arrayBuffer());
}

/** A picture as a texture with mipmaps whose numbers are used as they are stored. */
export async function readTexture(name) {
  const picture = new Image();
  picture.src = name;
  try {
    await picture.decode();
  } catch {
    throw new Error(`${name} cannot be loaded; is the folder complete?`);
  }
  const texture = new Texture(picture);
  texture.colorSpace = NoColorSpace;
  texture.flipY = false; // the atlas has its origin at the top left
  texture.minFilter = LinearMipmapLinearFilter;
  texture.magFilter = LinearFilter;
  texture.needsUpdate = true;
  return texture;
}

async function fetched(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} cannot be loaded (${response.status}); is the folder complete?`);
  return response;
}
