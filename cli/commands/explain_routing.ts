// heddle explain routing: which tokens go to which experts on samples of every task, in the terminal, as SVG, as PNG or as JSON.
// In: a checked model and options from the command line. Out: text on stdout, files written whole or not at all.
// Routes are worked out from attributes alone; where a router's weights decide, the network runs on the device up to it.
// Refuses tasks, layers and fields that the model lacks, and samples too long to draw.

import { readFileSync } from "node:fs";
import path from "node:path";
import { compileModel } from "../../compiler/compile.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import { lowerRouting, routingLayers } from "../../compiler/lower/routing.ts";
import { drawingSvg } from "../../compiler/mask/svg.ts";
import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import { routingDrawing } from "../../compiler/routing/drawing.ts";
import type { RoutedRows, RoutingReport } from "../../compiler/routing/report.ts";
import { choicesOf, routingReport } from "../../compiler/routing/report.ts";
import { routingText } from "../../compiler/routing/text.ts";
import type { Model } from "../../compiler/types/model.ts";
import { didYouMean } from "../../grammar/suggest.ts";
import { HeddleError } from "../../runtime/error.ts";
import { Machine } from "../../runtime/exec/machine.ts";
import { openCodecs } from "../../runtime/generate/model.ts";
import { uniformAt } from "../../runtime/random/philox.ts";
import { packSequences } from "../../runtime/sequence/batch.ts";
import type { Sequence } from "../../runtime/sequence/layout.ts";
import { initialParameters } from "../../runtime/train/initial.ts";
import { type BatchInputs, pick, trainingInputs } from "../../runtime/train/inputs.ts";
import { loadParameters } from "../../runtime/weights/parameters.ts";
import { compileFor, kernelsFor, openFor } from "../compile.ts";
import { EXIT, Exit } from "../exit_code.ts";
import { requireFolder, write } from "../out_file.ts";
import { routedSamples, routedTokens, type SampleChoice } from "../routed_samples.ts";
import { drawingPng } from "../show/mask_png.ts";
import { takesColour } from "../show/preview.ts";
import type { Checked } from "../spec.ts";
import { hasErrors } from "../spec.ts";
import { openTrainingData } from "../training_data.ts";
import { readWeights } from "../weights.ts";

export interface RoutingOptions {
  task?: string;
  layer?: string;
  samples?: string;
  length: string[];
  data?: string;
  split?: string;
  weights?: string;
  raw?: boolean;
  seed?: string;
  svg?: string;
  png?: string;
  json?: boolean;
  target: string;
  precision: string;
}

const TEXT = 12;
const SAMPLES = 8;

export async function explainRouting(file: string, model: Model, checked: Checked, options: RoutingOptions): Promise<void> {
  const files = [options.svg, options.png].filter((f) => f !== undefined);
  if (files.filter((f) => f === "-").length + (options.json ? 1 : 0) > 1) throw wrong("E0582", "stdout takes one of --json, --svg - and --png -");
  files.forEach(requireFolder);
  const all = routingLayers(model);
  const numbers = layerNumbers(model, all.map((l) => l.layer.path), options.layer);
  const choice = samplesOf(model, options);
  const report = await reportOf(file, model, checked, options, all, numbers, choice);
  if (options.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  if (options.svg !== undefined) await write(options.svg, drawingSvg(routingDrawing(report)));
  if (options.png !== undefined) await write(options.png, drawingPng(routingDrawing(report)));
  if (!options.json && files.length === 0) process.stdout.write(routingText(report, { columns: process.stdout.columns ?? (Number(process.env.COLUMNS) || 100), colour: takesColour(process.stdout, process.env) }));
  if (hasErrors(checked.diagnostics)) throw new Exit(EXIT.failed);
}

const wrong = (code: string, message: string, help?: string): HeddleError => new HeddleError({ code, message, ...(help === undefined ? {} : { help }), exit: 2 });

function whole(option: string, text: string, from: number): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(n) || n < from) throw wrong("E0582", `\`${text}\` for --${option} is not a whole number from ${from}`);
  return n;
}

/** `--layer 3`, or `--layer body[1].ffn`, which may be applied more than once. */
function layerNumbers(model: Model, paths: readonly string[], layer: string | undefined): number[] {
  const every = paths.map((_, i) => i);
  if (layer === undefined) return every;
  const found = /^\d+$/.test(layer) ? every.filter((i) => i === Number(layer)) : every.filter((i) => paths[i] === layer);
  if (found.length > 0) return found;
  throw wrong("E0585", `model \`${model.name}\` has no routed layer ${/^\d+$/.test(layer) ? layer : `\`${layer}\``}`, paths.length === 0 ? "none of its layers is routed" : (didYouMean(layer, paths) ?? `they are numbered 0 to ${paths.length - 1}, the first is \`${paths[0]}\``));
}

function samplesOf(model: Model, options: RoutingOptions): SampleChoice {
  const { task } = options;
  if (task !== undefined && !model.tasks.some((t) => t.name === task)) {
    const names = model.tasks.map((t) => t.name);
    throw wrong("E0585", `model \`${model.name}\` has no task \`${task}\``, didYouMean(task, names) ?? `its tasks are ${names.join(", ")}`);
  }
  if (options.data !== undefined && options.length.length > 0) throw wrong("E0582", "--length is for made-up samples, and --data gives real ones");
  if (options.data === undefined && options.split !== undefined) throw wrong("E0582", "--split chooses rows of --data");
  if (options.weights === undefined && options.raw) throw wrong("E0582", "--raw is for --weights");
  const fields = [...new Set(model.tasks.flatMap((t) => t.fields.map((f) => f.name)))];
  const lengths: Record<string, number> = {};
  let text = TEXT;
  for (const given of options.length) {
    const at = given.indexOf("=");
    const field = given.slice(0, Math.max(0, at));
    if (at < 0) text = whole("length", given, 1);
    else if (!fields.includes(field)) throw wrong("E0585", `no task of model \`${model.name}\` has a field \`${field}\``, didYouMean(field, fields) ?? `their fields are ${fields.join(", ")}`);
    else lengths[field] = whole("length", given.slice(at + 1), 1);
  }
  const seed = options.seed === undefined ? 0 : whole("seed", options.seed, 0);
  return { ...(task === undefined ? {} : { task }), samples: options.samples === undefined ? (options.data === undefined ? 1 : SAMPLES) : whole("samples", options.samples, 1), text, lengths, seed };
}

async function reportOf(
  file: string, model: Model, checked: Checked, options: RoutingOptions, all: ReturnType<typeof routingLayers>, numbers: readonly number[], choice: SampleChoice,
): Promise<RoutingReport> {
  const weighed = numbers.some((i) => all[i]?.weighed);
  const spec = specOf(model);
  const codecs = await openCodecs(spec.streams, async (name) => readFileSync(path.join(path.dirname(file), name), "utf8"));
  const data = options.data === undefined ? undefined : openTrainingData(options.data, spec, codecs, options.split);
  const sequences = routedSamples(spec, codecs, data, choice);
  const table = packSequences(spec, sequences);
  const inputs = trainingInputs(spec, table, { step: 0, seed: choice.seed, uniform: (i) => uniformAt(i, 1005, choice.seed, 0) });
  const outputs = weighed ? await onDevice(model, checked, options, inputs, choice.seed) : onHost(model, numbers, inputs);
  const layers = numbers.flatMap((index) => (all[index] ? [{ index, layer: all[index].layer }] : []));
  const rows = numbers.map((i): RoutedRows => {
    const [weight, share] = [outputs[`routing.${i}.weight`], outputs[`routing.${i}.share`]];
    return { batch: table.rows, tokens: table.tokens, expert: outputs[`routing.${i}.expert`] ?? [], ...(weight ? { weight } : {}), ...(share ? { share } : {}) };
  });
  // Every sample lies in a row of its own, in the order given.
  const samples = sequences.map((s, row) => ({
    task: s.task, tokens: routedTokens(spec, codecs, s), levels: levelsOf(spec, s, row, table.tokens, inputs), choices: rows.map((r) => choicesOf(r, row, s.count)),
  }));
  return routingReport(model.name, layers, samples, {
    weights: !weighed ? { kind: "none" } : options.weights === undefined ? { kind: "fresh", seed: choice.seed } : { kind: "file", file: options.weights },
    data: options.data === undefined ? { kind: "example" } : { kind: "folder", folder: options.data },
  });
}

/** The spec that samples are laid out by; no program is compiled for it. */
function specOf(model: Model): ModelSpec {
  const result = compileModel(model, { target: software, programs: [] });
  if (!result.ok) throw new Error("a model with parts that are not built reached the compiler");
  return result.compiled.spec;
}

/** Where attributes decide, the few ops behind the choice are worked out here. */
function onHost(model: Model, numbers: readonly number[], inputs: BatchInputs): Record<string, ArrayLike<number>> {
  const graph = lowerRouting(model, numbers);
  const { outputs } = interpret(graph, { inputs: inputs.values, lengths: inputs.lengths });
  return Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, value.data]));
}

async function onDevice(model: Model, checked: Checked, options: RoutingOptions, inputs: BatchInputs, seed: number): Promise<Record<string, ArrayLike<number>>> {
  const weights = options.weights === undefined ? undefined : await readWeights(options.weights, options.raw ?? false);
  const { target, precision } = await kernelsFor(options);
  const compiled = compileFor(model, target, ["routing"], { precision, sources: checked.sources });
  const values = weights ? loadParameters(compiled.spec, weights.bytes, weights.file) : initialParameters(compiled.spec, seed);
  const plan = compiled.plans.routing;
  if (!plan) throw new Error("there is no program of routing");
  const host = await openFor(compiled);
  const machine = new Machine(host, compiled);
  try {
    machine.states.write("params", values);
    return await machine.run("routing", inputs.lengths, pick(inputs.values, plan.inputs), Object.keys(plan.outputs));
  } finally {
    await machine.destroy();
    await host.destroy();
  }
}

/** The noise level of each predicted item of numbers, by field. */
function levelsOf(spec: ModelSpec, sequence: Sequence, row: number, tokens: number, inputs: BatchInputs): Record<string, number> {
  return Object.fromEntries(sequence.segments.flatMap((s) => {
    const process = spec.processes.find((p) => p.stream === s.stream);
    const level = process && inputs.values[`${process.name}.level`]?.[row * tokens + s.start];
    return level === undefined || level === 0 || s.count === 0 ? [] : [[s.field, level]];
  }));
}
