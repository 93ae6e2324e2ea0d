// npm run eval:digits: caption accuracy on the 1,000 held-out images, and drawings judged by an independent classifier that is
// trained here on the training split. Options: --bundle DIR (default: built from the shipped weights), --describe N, --draw N.

import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { contactSheet } from "../../../dist/cli/show/contact_sheet.js";
import { trainClassifier } from "./classifier.mjs";
import { captionsToDraw, report, scoreDescriptions, scoreDrawings } from "./evaluate.mjs";
import { openDigits } from "./model.mjs";
import { readDigits } from "./read_data.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const { values: options } = parseArgs({
  options: { bundle: { type: "string" }, weights: { type: "string", default: "examples/digits/weights.safetensors" }, describe: { type: "string", default: "1000" }, draw: { type: "string", default: "500" }, seed: { type: "string", default: "1" } },
});
const out = path.join(root, "out");
mkdirSync(out, { recursive: true });
let bundle = options.bundle;
if (!bundle) {
  bundle = path.join(out, "digits-eval");
  const built = spawnSync(process.execPath, [path.join(root, "dist/cli/main.js"), "build", "examples/digits/digits.heddle", "--weights", options.weights, "-o", bundle], { stdio: "inherit", cwd: root });
  if (built.status !== 0) process.exit(built.status ?? 1);
}
const data = path.join(root, "examples/digits/data");
const started = Date.now();
const say = (text) => console.log(`[${((Date.now() - started) / 1000).toFixed(0)} s] ${text}`);
const model = await openDigits(bundle, { seed: Number(options.seed) });
const test = readDigits(data, "test");
const images = Number(options.describe);
const drawings = Number(options.draw);
if (images > 0) {
  const score = await scoreDescriptions(model.describe, test.images.subarray(0, images * 784), test.labels.subarray(0, images), { group: 50, progress: (done, total, s) => done % 250 === 0 && say(`described ${done}/${total}, ${s.right} right`) });
  say(report("captions of held-out images", score));
  for (const w of score.wrong.slice(0, 8)) console.log(`    image ${w.index}, a ${w.label}: "${w.text}"`);
}
if (drawings > 0) {
  const train = readDigits(data, "train");
  const judge = trainClassifier(train.images, train.labels);
  say(`the judge, on the ${test.labels.length} held-out images: ${(100 * judge.accuracy(test.images, test.labels)).toFixed(1)}%`);
  const shown = [];
  const wanted = captionsToDraw(drawings);
  const draw = async (captions, first) => {
    const made = await model.draw(captions, first);
    made.forEach((pixels, i) => shown.length < 50 && shown.push({ pixels, width: 28, height: 28, channels: 1, caption: wanted[first + i].caption }));
    return made;
  };
  const score = await scoreDrawings(draw, judge, { count: drawings, group: 25, progress: (done, total, s) => done % 100 === 0 && say(`drew ${done}/${total}, ${s.right} recognised`) });
  say(report("drawings recognised as the digit asked for", score));
  writeFileSync(path.join(out, "digits-eval.png"), contactSheet(shown, { columns: 10, scale: 3 }));
  console.log("first 50 drawings: out/digits-eval.png");
}
await model.close();
process.exit(0);
