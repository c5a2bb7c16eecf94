// Answer the pipelines of a job file with transformers.js, from local files alone: node transformers.mjs PACKAGES JOBS ANSWERS
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [packages, jobs, answers] = process.argv.slice(2);
const { env, pipeline } = await import(
  pathToFileURL(createRequire(`${packages}/`).resolve("@huggingface/transformers")).href
);
env.allowRemoteModels = false;
globalThis.fetch = () => {
  throw new Error("a pipeline on local files needs no network");
};

const found = [];
for (const { root, model, task, dtype, inputs, options } of JSON.parse(readFileSync(jobs, "utf8"))) {
  env.localModelPath = root;
  const pipe = await pipeline(task, model, { dtype, device: "cpu" });
  const answer = await pipe(...inputs, options);
  found.push(typeof answer.tolist === "function" ? answer.tolist() : answer);
  await pipe.dispose();
}
writeFileSync(answers, JSON.stringify(found));
