// The main job in one command (`npm start`): build the bundle, draw ten digits, describe held-out images, train a short fresh run.
// Everything goes through the `heddle` command and the bundle it makes; nothing here knows the compiler.

import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { contactSheet } from "../../dist/cli/show/contact_sheet.js";
import { preview, takesColour } from "../../dist/cli/show/preview.js";
import { WORDS } from "./eval/score.mjs";
import { openDigits } from "./eval/model.mjs";
import { readDigits } from "./eval/read_data.mjs";
import { scoreDescriptions } from "./eval/evaluate.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(path.dirname(here));
const out = path.join(root, "out");
const count = Number(process.env.HEDDLE_DESCRIBE ?? 50);
const steps = Number(process.env.HEDDLE_TRAIN_STEPS ?? 24);
const started = Date.now();
const seconds = () => `${((Date.now() - started) / 1000).toFixed(0)} s`;
const title = (text) => console.log(`\n== ${text}  (${seconds()})`);

function heddle(...args) {
  const done = spawnSync(process.execPath, [path.join(root, "dist", "cli", "main.js"), ...args], { stdio: "inherit", cwd: root });
  if (done.status !== 0) process.exit(done.status ?? 1);
}

mkdirSync(out, { recursive: true });
title("building the bundle out/digits from examples/digits/digits.heddle");
heddle("build", "examples/digits/digits.heddle", "--weights", "examples/digits/weights.safetensors", "-o", "out/digits");

const digits = await openDigits(path.join(out, "digits"), { seed: 7 });
const bar = (what) => (done, total) => process.stderr.isTTY && process.stderr.write(`\r${what} ${done}/${total} `);

title("drawing ten digits from captions");
const captions = WORDS.map((word, i) => [`a handwritten ${word}`, `digit ${i}`, `the number ${word}`][i % 3]);
const drawings = await digits.draw(captions, 0, bar("step"));
const pictures = drawings.map((pixels, i) => ({ pixels, width: 28, height: 28, channels: 1, caption: captions[i] }));
writeFileSync(path.join(out, "digits.png"), contactSheet(pictures));
process.stderr.isTTY && process.stderr.write("\r");
console.log(preview(pictures, { colour: takesColour(process.stdout, process.env), columns: process.stdout.columns ?? 100 }));
console.log("contact sheet: out/digits.png");

title(`describing ${count} held-out images`);
const test = readDigits(path.join(here, "data"), "test");
const score = await scoreDescriptions((images) => digits.describe(images), test.images.subarray(0, count * 784), test.labels.subarray(0, count), { group: 25 });
console.log(`described rightly: ${score.right} of ${score.total}`);
for (const w of score.wrong.slice(0, 5)) console.log(`  a ${w.label} was called "${w.text}"`);
await digits.close();

title(`training a fresh model for ${steps} steps`);
rmSync(path.join(out, "fresh"), { recursive: true, force: true });
heddle("train", "examples/digits/digits.heddle", "--data", "examples/digits/data", "-o", "out/fresh", "--steps", "1000", "--until", String(steps), "--batch", "16", "--save-every", "0");
const { readFileSync } = await import("node:fs");
const losses = readFileSync(path.join(out, "fresh", "metrics.jsonl"), "utf8").trim().split("\n").map((l) => JSON.parse(l).loss);
const mean = (a) => a.reduce((s, x) => s + x, 0) / a.length;
const k = Math.max(1, Math.floor(losses.length / 4));
console.log(`loss: first ${k} steps ${mean(losses.slice(0, k)).toFixed(3)}, last ${k} steps ${mean(losses.slice(-k)).toFixed(3)}`);
title("done");
process.exit(0);
