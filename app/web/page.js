// The page: two clips, each recorded or chosen, and their comparison.

import { decode, record } from "./audio.js";
import { cosines, loadModel, similarity } from "./embedder.js";

const [SHORTEST, LONGEST] = [0.1, 60]; // seconds: a frame of any model, and what the memory of a phone holds
const find = (selector, inside = document) => inside.querySelector(selector);
const say = (text) => (find("#status").textContent = text);

/** What the page knows of its two clips: `{ features, times }`, or null. */
export const clips = [null, null];
/** The cosine similarities that are shown, or null. */
export let matrix = null;

let model;
let work = Promise.resolve(); // one clip at a time

function fail(error) {
  const box = find("#error");
  box.textContent = error?.message ?? "";
  box.hidden = !error;
}

async function use(index, blob, name) {
  const section = document.querySelectorAll(".clip")[index];
  fail(null);
  say(`Embedding ${name}…`);
  try {
    const samples = await decode(blob, model.about.sampling_rate, name);
    const seconds = samples.length / model.about.sampling_rate;
    if (seconds < SHORTEST || seconds > LONGEST) {
      throw new Error(`${name} lasts ${seconds.toFixed(2)} s; give a clip of ${SHORTEST} to ${LONGEST} s.`);
    }
    const start = performance.now();
    clips[index] = await model.embed(samples);
    find(".about", section).textContent = `${name}, ${seconds.toFixed(2)} s`;
    const player = find("audio", section);
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(blob);
    player.hidden = false;
    say(`Embedded ${name} in ${Math.round(performance.now() - start)} ms.`);
  } catch (error) {
    fail(error);
    say(clips[index] ? "The clip from before stays." : "Ready.");
  }
  compare();
}

function compare() {
  if (!clips[0] || !clips[1]) return;
  matrix = cosines(clips[0].features, clips[1].features);
  find("#score").textContent = similarity(matrix).toFixed(2).replace("-0.00", "0.00");
  const header = document.createElement("tr");
  header.append(document.createElement("td"), ...clips[1].times.map((time) => heading(time, "col")));
  header.firstChild.style.setProperty("--part", 0);
  find("thead").replaceChildren(header);
  find("tbody").replaceChildren(
    ...matrix.map((values, row) => {
      const line = document.createElement("tr");
      line.append(heading(clips[0].times[row], "row"), ...values.map((value, column) => cell(value, row === column)));
      return line;
    }),
  );
  find("#result").hidden = false;
}

function heading([start], scope) {
  const made = document.createElement("th");
  made.scope = scope;
  made.textContent = start.toFixed(1);
  return made;
}

function cell(value, isDiagonal) {
  const made = document.createElement("td");
  made.textContent = value.toFixed(2).replace("-0.00", "0.00");
  made.style.setProperty("--part", Math.max(0, value));
  made.classList.toggle("diagonal", isDiagonal);
  return made;
}

async function toggleRecording(index, button) {
  if (button.stop) return button.stop();
  fail(null);
  try {
    const { recording, stop } = await record();
    button.stop = stop;
    button.textContent = "Stop";
    button.ariaPressed = "true";
    say("Recording… Press Stop when you are done.");
    const timer = setTimeout(stop, 1000 * (LONGEST - 1));
    const blob = await recording;
    clearTimeout(timer);
    await enqueue(index, blob, "The recording");
  } catch (error) {
    fail(error);
  } finally {
    button.stop = null;
    button.textContent = "Record";
    button.ariaPressed = "false";
  }
}

function enqueue(index, blob, name) {
  work = work.then(() => use(index, blob, name));
  return work;
}

async function start() {
  try {
    model = await loadModel();
  } catch (error) {
    say("");
    return fail(new Error(`The model can't be loaded: ${error.message}`));
  }
  const { about } = model;
  find("#model").textContent = `Model: ${about.model ?? "Audio Branch"}${about.revision ? `, ${about.revision}` : ""}.`;
  document.querySelectorAll(".clip").forEach((section, index) => {
    const button = find(".record", section);
    const input = find("input", section);
    button.addEventListener("click", () => toggleRecording(index, button));
    input.addEventListener("change", () => {
      if (input.files.length) enqueue(index, input.files[0], input.files[0].name);
      input.value = ""; // so that the same file can be chosen again
    });
    button.disabled = input.disabled = false;
  });
  say("Ready.");
}

start();
