// Bundles the page into the Python package, with the licences of what is inside.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2] ?? join(here, "..", "src", "headstudio", "export", "web_page");
const modules = join(here, "node_modules");
const engine = join(modules, "onnxruntime-web", "dist", "ort-wasm-simd-threaded.wasm");

const mit = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

async function version(name) {
  return JSON.parse(await readFile(join(modules, name, "package.json"), "utf8")).version;
}

async function licences() {
  const three = (await readFile(join(modules, "three", "LICENSE"), "utf8")).trim();
  return `This page contains the following software of others. The page's own code is part of headstudio (Apache-2.0).

--- three.js ${await version("three")} ---
${three}

--- ONNX Runtime Web ${await version("onnxruntime-web")} (inside page.js, and the file ort.wasm) ---
MIT License
Copyright (c) Microsoft Corporation

${mit}

ort.wasm is compiled from ONNX Runtime, whose repository lists the notices of the libraries it builds on in
ThirdPartyNotices.txt.
`;
}

await rm(output, { recursive: true, force: true });
await mkdir(output, { recursive: true });
await build({
  entryPoints: { page: join(here, "src", "main.js") },
  outdir: output,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
});
for (const name of await readdir(join(here, "static"))) {
  await copyFile(join(here, "static", name), join(output, name));
}
// Under a name that every server knows, or at least does not refuse.
await copyFile(engine, join(output, "ort.wasm"));
await writeFile(join(output, "THIRD_PARTY.txt"), await licences());
