// Copies what the page runs on into runtime/: `node fetch-runtime.mjs`. This is the only step that needs the internet, and npm.
// `node fetch-runtime.mjs FOLDER` copies from a folder where `npm install` has put these packages before.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGES = ["@huggingface/tokenizers@0.2.0", "onnxruntime-web@1.30.0"];

// name in runtime/: file of a package, SHA-256. Apache-2.0 (tokenizers) and MIT (ONNX Runtime).
const FILES = {
  "tokenizers.min.mjs": [
    "@huggingface/tokenizers/dist/tokenizers.min.mjs",
    "258e46332101335ce8d95aed7745b19ac3b46d37f3e159a89cf894c2ea9b1d3a",
  ],
  "tokenizers.LICENSE": [
    "@huggingface/tokenizers/LICENSE",
    "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
  ],
  "ort.wasm.bundle.min.mjs": [
    "onnxruntime-web/dist/ort.wasm.bundle.min.mjs",
    "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
  ],
  "ort-wasm-simd-threaded.wasm": [
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
  ],
};

const target = join(dirname(fileURLToPath(import.meta.url)), "runtime");
const given = process.argv[2];
const folder = given ?? mkdtempSync(join(tmpdir(), "mobilebert-runtime-"));
try {
  if (given === undefined) {
    const options = ["--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    const isWindows = process.platform === "win32"; // npm is a script there, which needs a shell
    execFileSync("npm", ["install", ...options, ...PACKAGES], { stdio: "inherit", shell: isWindows });
  }
  const contents = Object.entries(FILES).map(([name, [path, digest]]) => {
    const content = readFileSync(join(folder, "node_modules", path));
    const isRight = createHash("sha256").update(content).digest("hex") === digest;
    if (!isRight) throw new Error(`${path} is not the one of ${PACKAGES.join(" and ")}`);
    return [name, content];
  });
  mkdirSync(target, { recursive: true });
  for (const [name, content] of contents) {
    writeFileSync(join(target, name), content);
    console.log(`runtime/${name}: ${(content.length / 1e6).toFixed(2)} MB`);
  }
} finally {
  if (given === undefined) rmSync(folder, { recursive: true, force: true });
}
