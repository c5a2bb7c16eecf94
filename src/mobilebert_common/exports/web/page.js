// The page: it shows what worker.js answers. The model computes there, so that typing never waits for it.
"use strict";

const FEW = 6; // labels up to which every label keeps its place, so that bars only grow and shrink
const MANY = 10; // of more labels, show this many, the most probable first
const THRESHOLD = 0.5; // of a label's probability where a text can have several, as in MultiLabel

const at = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

let model = null; // what the worker says of it once it is ready: labels, problemType, maxLength, bytes
let rows = []; // the elements of the bars
let asked = null; // the text that the worker is computing, null while it is idle
let answered = null; // the text of the bars

function start() {
  if (location.protocol === "file:") {
    return fail("Browsers load no models from files. Serve this folder and open its address:", "python3 -m http.server");
  }
  const worker = new Worker("worker.js", { type: "module" });
  const handlers = {
    progress: ({ loaded, total }) => showProgress(loaded, total),
    ready: (found) => {
      model = found;
      build();
      ask(worker);
    },
    answer: (answer) => {
      asked = null;
      answered = answer.text;
      show(answer);
      ask(worker);
    },
    failure: ({ message, command }) => {
      worker.terminate();
      fail(message, command);
    },
  };
  worker.onmessage = ({ data }) => handlers[data.kind](data);
  worker.onerror = (event) => fail(`worker.js stopped: ${event.message ?? "it cannot be loaded"}`);
  at("text").addEventListener("input", () => ask(worker));
}

// One text at a time. What is typed meanwhile waits, and of that only the last text is asked for: a slow device skips
// texts instead of lagging behind, and a fast one answers every key.
function ask(worker) {
  if (model === null) return;
  const text = at("text").value;
  if (text.trim() === "") {
    answered = null;
    return clear();
  }
  if (asked === null && text !== answered) {
    asked = text;
    worker.postMessage({ text });
  }
}

function build() {
  at("loading").hidden = at("progress").hidden = true;
  at("facts").hidden = false;
  at("size").textContent = megabytes(model.bytes);
  const count = model.labels.length;
  if (count > FEW) at("order").textContent = count > MANY ? `The ${MANY} most probable of ${count} labels` : "Most probable first";
  at("order").hidden = count <= FEW;
  rows = model.labels.slice(0, count > FEW ? MANY : FEW).map((_, index) => {
    const row = document.createElement("li");
    const name = element("span", "name");
    const value = element("span", "value");
    const bar = element("div", "bar");
    name.id = `name-${index}`;
    name.dir = "auto";
    for (const [key, setting] of [["role", "meter"], ["aria-labelledby", name.id], ["aria-valuemin", "0"], ["aria-valuemax", "100"]]) {
      bar.setAttribute(key, setting);
    }
    bar.append(element("div", "fill"));
    row.append(name, value, bar);
    return row;
  });
  at("labels").replaceChildren(...rows);
  clear();
}

function show({ text, probabilities, milliseconds, tokens, isCut }) {
  const places = probabilities.map((_, label) => label);
  const sorted = places.toSorted((a, b) => probabilities[b] - probabilities[a]); // stable: equal ones stay in their order
  const chosen = model.problemType === "multi_label_classification"
    ? sorted.filter((label) => probabilities[label] >= THRESHOLD)
    : sorted.slice(0, 1);
  const order = probabilities.length > FEW ? sorted : places;
  rows.forEach((row, index) => fill(row, model.labels[order[index]], probabilities[order[index]], chosen.includes(order[index])));
  at("headline").textContent = chosen.map((label) => model.labels[label]).join(", ") || "None of the labels";
  at("labels").dataset.text = text; // which text the bars are for, for programs that read the page
  at("time").textContent = `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
  at("tokens").textContent = `${tokens} of ${model.maxLength}`;
  at("cut").hidden = !isCut;
  at("cut").textContent = `The text has ${tokens} tokens. The model reads ${model.maxLength}, and the rest does not count.`;
}

function clear() {
  rows.forEach((row, index) => fill(row, model.labels.length > FEW ? "–" : model.labels[index], null, false));
  at("headline").textContent = "";
  at("time").textContent = at("tokens").textContent = "–";
  at("cut").hidden = true;
  delete at("labels").dataset.text;
}

function fill(row, name, probability, isChosen) {
  const [label, value, bar] = row.children;
  const shown = probability === null ? "–" : percent.format(probability);
  label.textContent = name;
  value.textContent = shown;
  bar.setAttribute("aria-valuenow", (100 * (probability ?? 0)).toFixed(2));
  bar.setAttribute("aria-valuetext", probability === null ? "no text yet" : shown);
  bar.firstChild.style.transform = `scaleX(${probability ?? 0})`;
  row.classList.toggle("chosen", isChosen);
}

function showProgress(loaded, total) {
  at("loading").textContent = `Loading the model: ${megabytes(loaded)} of ${megabytes(total)}`;
  Object.assign(at("progress"), { hidden: false, value: loaded, max: total });
}

function fail(message, command) {
  at("loading").hidden = at("progress").hidden = true;
  at("failure").hidden = false;
  at("failure").replaceChildren(Object.assign(element("p"), { textContent: message }));
  if (command) at("failure").append(Object.assign(element("pre"), { textContent: command }));
}

function element(tag, className = "") {
  return Object.assign(document.createElement(tag), { className });
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

start();
