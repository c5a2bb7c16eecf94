// The model: tokenizes the texts that the page sends, runs the ONNX file, and answers with probabilities.

const TOKENIZERS = "./runtime/tokenizers.min.mjs";
const ONNX_RUNTIME = "./runtime/ort.wasm.bundle.min.mjs";
const WASM = "./runtime/ort-wasm-simd-threaded.wasm";

// The ideographs beyond U+FFFF that the tokenizer splits into words of their own; the JavaScript library forgets these.
const IDEOGRAPHS = /[\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/gu;

const ARRAYS = { int32: (ids) => Int32Array.from(ids), int64: (ids) => BigInt64Array.from(ids, BigInt) };

class Failure extends Error {
  constructor(message, command = null) {
    super(message);
    this.command = command;
  }
}

function failed(error) {
  postMessage({ kind: "failure", message: error.message ?? String(error), command: error.command ?? null });
}

async function load() {
  const [signature, config, tokenizerJson, tokenizerConfig] = await Promise.all(
    ["signature.json", "config.json", "tokenizer.json", "tokenizer_config.json"].map(json),
  );
  const { Tokenizer } = await runtime(TOKENIZERS);
  const ort = await runtime(ONNX_RUNTIME);
  ort.env.wasm.wasmBinary = await runtimeBytes(WASM); // so that it is not looked for elsewhere
  ort.env.wasm.numThreads = 1; // several need headers that most servers do not send
  const bytes = await modelBytes(signature);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const names = Object.keys(config.id2label).sort((a, b) => a - b).map((number) => config.id2label[number]);
  postMessage({
    kind: "ready",
    labels: names,
    problemType: config.problem_type ?? "single_label_classification",
    maxLength: signature.max_length,
    bytes: bytes.length,
  });
  const tokenizer = new Tokenizer(tokenizerJson, tokenizerConfig);
  const splitsIdeographs = tokenizerJson.normalizer?.handle_chinese_chars === true;
  const activation = config.problem_type === "multi_label_classification" ? sigmoid : softmax;

  return async (text) => {
    const started = performance.now();
    const ids = tokenizer.encode(splitsIdeographs ? text.replace(IDEOGRAPHS, " $& ") : text).ids;
    const kept = cut(ids, signature.max_length, tokenizerConfig.truncation_side);
    const inputs = { input_ids: kept, attention_mask: kept.map(() => 1), token_type_ids: kept.map(() => 0) };
    const feeds = Object.entries(signature.inputs).map(([argument, tensor]) => [
      tensor,
      new ort.Tensor(signature.ids, ARRAYS[signature.ids](inputs[argument]), [1, kept.length]),
    ]);
    const outputs = await session.run(Object.fromEntries(feeds));
    const logits = Array.from(outputs[signature.outputs.logits].data);
    if (logits.length !== names.length || !logits.every(Number.isFinite)) {
      throw new Failure(`The model gave ${logits.length} numbers for ${names.length} labels: ${logits.slice(0, 5)}.`);
    }
    return {
      kind: "answer",
      text,
      probabilities: activation(logits),
      milliseconds: performance.now() - started,
      tokens: ids.length,
      isCut: kept.length < ids.length,
    };
  };
}

// [CLS] and [SEP] stay: what is cut lies between them.
function cut(ids, length, side) {
  if (ids.length <= length) return ids;
  const inner = ids.slice(1, -1);
  const room = length - 2;
  return [ids[0], ...(side === "left" ? inner.slice(inner.length - room) : inner.slice(0, room)), ids.at(-1)];
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const shares = logits.map((logit) => Math.exp(logit - largest));
  const sum = shares.reduce((a, b) => a + b);
  return shares.map((share) => share / sum);
}

function sigmoid(logits) {
  return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
}

async function response(path) {
  const found = await fetch(path, { cache: "no-cache" }).catch(() => null); // a new export must not meet an old file
  if (!found?.ok) throw new Failure(`${path} is missing from this folder.`);
  return found;
}

async function json(path) {
  const found = await response(path);
  return found.json().catch(() => {
    throw new Failure(`${path} is damaged: it is not JSON.`);
  });
}

function missingRuntime(path) {
  const message = `The runtime has not been copied into this folder yet: ${path} is missing. Run this in the folder:`;
  return new Failure(message, "node fetch-runtime.mjs");
}

async function runtime(path) {
  return import(path).catch(() => {
    throw missingRuntime(path);
  });
}

async function runtimeBytes(path) {
  const found = await response(path).catch(() => null);
  if (found === null) throw missingRuntime(path);
  return found.arrayBuffer();
}

async function modelBytes(signature) {
  const total = signature.files[signature.file].bytes;
  const bytes = new Uint8Array(total);
  const reader = (await response(signature.file)).body.getReader();
  let loaded = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (loaded + part.value.length <= total) bytes.set(part.value, loaded);
    loaded += part.value.length;
    postMessage({ kind: "progress", loaded, total });
  }
  if (loaded !== total) throw new Failure(`${signature.file} has ${loaded} bytes, but ${total} were exported. Copy it again.`);
  return bytes;
}

const classifier = load();
classifier.catch(failed);
onmessage = async ({ data }) => {
  try {
    postMessage(await (await classifier)(data.text));
  } catch (error) {
    failed(error);
  }
};
