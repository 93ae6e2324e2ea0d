// Loss on the held-out rows, and how evenly they are routed. In: --model NAME (a variant), --weights PATH (a safetensors file or the folder of
// a run). Out: loss a token, bits a byte, max/mean load by layer. Run `npm run build` first.
//
//   node examples/moe-text/evaluate.mjs --weights examples/moe-text/weights.safetensors

import { readFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { compileFor, kernelsFor, openFor } from "../../dist/cli/compile.js";
import { modelOf } from "../../dist/cli/spec.js";
import { openTrainingData } from "../../dist/cli/training_data.js";
import { readWeights } from "../../dist/cli/weights.js";
import { Machine } from "../../dist/runtime/exec/machine.js";
import { openCodecs } from "../../dist/runtime/generate/model.js";
import { packSequences } from "../../dist/runtime/sequence/batch.js";
import { layoutSample } from "../../dist/runtime/sequence/layout.js";
import { pick, trainingInputs } from "../../dist/runtime/train/inputs.js";
import { addCounts, routingMetrics } from "../../dist/runtime/train/routing.js";
import { loadParameters } from "../../dist/runtime/weights/parameters.js";

const here = import.meta.dirname;
const BATCH = 24;
const { values: options } = parseArgs({
  options: { spec: { type: "string", default: path.join(here, "moe_text.heddle") }, model: { type: "string", default: "moe_text" }, weights: { type: "string", default: path.join(here, "weights.safetensors") }, split: { type: "string", default: "valid" }, rows: { type: "string" }, json: { type: "boolean" } },
});
const { model, checked } = modelOf(options.spec, options.model, ["W0602"]);
const compiled = compileFor(model, (await kernelsFor({ target: "auto", precision: "f32" })).target, ["loss"], { sources: checked.sources });
const codecs = await openCodecs(compiled.spec.streams, async (name) => readFileSync(path.join(path.dirname(options.spec), name), "utf8"));
const data = openTrainingData(path.join(here, "data"), compiled.spec, codecs, options.split);
const weights = await readWeights(options.weights);
const host = await openFor(compiled);
const machine = new Machine(host, compiled);
machine.states.write("params", loadParameters(compiled.spec, weights.bytes, weights.file));

const { spec } = machine;
const task = spec.tasks[0];
const [loss] = spec.losses;
const routers = spec.routers ?? [];
const count = Math.min(data.count, Number(options.rows ?? data.count));
let [sum, tokens, bytes] = [0, 0, 0];
const counts = [];
for (let at = 0; at < count; at += BATCH) {
  const indices = Array.from({ length: Math.min(BATCH, count - at) }, (_, i) => at + i);
  for (const i of indices) bytes += Buffer.byteLength(data.folder.rows[i].values.text);
  const sequences = indices.map((i) => layoutSample(spec, task.name, Object.fromEntries(task.fields.map((f) => [f.name, data.value(i, f.stream, 0)]))));
  const table = packSequences(spec, sequences, { tokens: 96, pack: false });
  const inputs = trainingInputs(spec, table, { step: 0, seed: 1, uniform: () => 0.5 });
  const bound = await machine.bind("loss", inputs.lengths);
  bound.write(pick(inputs.values, bound.program.plan.inputs));
  const out = await machine.submit([bound], [`loss.${loss.name}`, ...(routers.length > 0 ? ["routing"] : [])]);
  sum += out[`loss.${loss.name}`][0] * inputs.counts[loss.name];
  tokens += inputs.counts[loss.name];
  if (routers.length > 0) addCounts(counts, out.routing);
  if (process.stderr.isTTY) process.stderr.write(`\r${at + indices.length}/${count} rows `);
}
const result = {
  model: options.model, weights: options.weights, rows: count, tokens, loss: sum / tokens, perplexity: Math.exp(sum / tokens), bits_per_byte: sum / Math.LN2 / bytes,
  max_over_mean: Object.fromEntries(routingMetrics(routers, counts).map((m) => [m.path, Number(m.max_over_mean.toFixed(3))])),
};
if (options.json) console.log(JSON.stringify(result));
else {
  console.log(`${result.model}: ${count} rows of the ${options.split} split, ${tokens} tokens, ${bytes} bytes`);
  console.log(`loss ${result.loss.toFixed(4)} a token, perplexity ${result.perplexity.toFixed(1)}, ${result.bits_per_byte.toFixed(3)} bits a byte`);
  for (const [layer, x] of Object.entries(result.max_over_mean)) console.log(`  ${layer}: max/mean load ${x.toFixed(2)}`);
}
await machine.destroy();
await host.destroy();
process.exit(0);
