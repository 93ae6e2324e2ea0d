// heddle generate SPEC --weights … TASK field=value … and heddle run BUNDLE TASK field=value …: fill in a task's predicted fields.

import { readFileSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { encode } from "fast-png";
import { INFERENCE } from "../../compiler/compile.ts";
import { load } from "../../runtime/bundle/open.ts";
import { HeddleError } from "../../runtime/error.ts";
import { Machine } from "../../runtime/exec/machine.ts";
import { type FieldOutput, GenerativeModel, openCodecs } from "../../runtime/generate/model.ts";
import { findStream, findTask } from "../../runtime/sequence/layout.ts";
import { imageBytes } from "../../runtime/tokenize/image.ts";
import { writeAtomically } from "../../runtime/weights/file.ts";
import { loadParameters } from "../../runtime/weights/parameters.ts";
import { compileFor, openFor, targetNamed, targetOf } from "../compile.ts";
import { describeAdapter } from "../device.ts";
import { parseFields } from "../fields.ts";
import { startProgress } from "../progress.ts";
import { preview, takesColour } from "../show/preview.ts";
import { modelOf } from "../spec.ts";
import { readWeights } from "../weights.ts";

interface RunFlags {
  seed: number;
  count: number;
  out?: string;
  set: string[];
  json?: boolean;
}

interface GenerateFlags extends RunFlags {
  weights: string;
  raw?: boolean;
  model?: string;
  target: string;
}

const integer = (text: string): number => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 0) throw new HeddleError({ code: "E0582", message: `\`${text}\` is not a whole number`, exit: 2 });
  return n;
};
const collect = (value: string, all: string[]): string[] => [...all, value];

const common = (c: Command): Command =>
  c
    .option("--seed <n>", "seed of every random choice", integer, 0)
    .option("-n, --count <n>", "how many, with seeds following --seed", integer, 1)
    .option("-o, --out <file>", "write images here (PNG; with --count a number is put in)")
    .option("--set <stream.name=value>", "override a sampler: image.steps=20, image.guidance=2, text.p=0.8", collect, [])
    .option("--json", "the result as JSON on stdout");

export function addGenerate(program: Command): void {
  common(
    program
      .command("generate")
      .description("compile a spec and run a task with given weights")
      .argument("<spec>", ".heddle file")
      .argument("<task>", "task of the model")
      .argument("[fields...]", 'given fields: caption="digit 7" picture=seven.png')
      .requiredOption("--weights <path>", "safetensors file, checkpoint, or --out folder of a training run")
      .option("--raw", "the weights themselves where a run also keeps their average (EMA)")
      .option("--model <name>", "which model or variant of the spec")
      .option("--target <name>", "kernels for: auto, guaranteed, software", "auto"),
  ).action(async (file: string, task: string, fields: string[], flags: GenerateFlags) => {
    const { model } = modelOf(file, flags.model);
    const weights = await readWeights(flags.weights, flags.raw ?? false);
    const target = flags.target === "auto" ? targetOf(await describeAdapter()) : targetNamed(flags.target);
    const compiled = compileFor(model, target, INFERENCE);
    const values = loadParameters(compiled.spec, weights.bytes, weights.file);
    const codecs = await openCodecs(compiled.spec.streams, async (name) => readFileSync(path.join(path.dirname(file), name), "utf8"));
    const host = await openFor(compiled);
    const machine = new Machine(host, compiled);
    machine.states.write("params", values);
    const ready = new GenerativeModel(machine, codecs);
    try {
      await runTask(ready, task, fields, flags);
    } finally {
      await ready.destroy();
      await host.destroy();
    }
  });
}

export function addRun(program: Command): void {
  common(
    program
      .command("run")
      .description("run a task of a bundle; no compiler is used")
      .argument("<bundle>", "folder made by heddle build")
      .argument("<task>", "task of the model")
      .argument("[fields...]", 'given fields: caption="digit 7" picture=seven.png'),
  ).action(async (bundle: string, task: string, fields: string[], flags: RunFlags) => {
    const bar = startProgress("kernels", 60);
    const ready = await load(bundle, { progress: (stage, done, total) => stage === "kernels" && bar.update(done, total) });
    bar.stop();
    try {
      await runTask(ready, task, fields, flags);
    } finally {
      await ready.destroy();
      await ready.machine.host.destroy();
    }
  });
}

async function runTask(model: GenerativeModel, taskName: string, pairs: readonly string[], flags: RunFlags): Promise<void> {
  const { spec } = model.machine;
  const task = findTask(spec, taskName);
  const given = parseFields(pairs, (field) => {
    const f = task.fields.find((x) => x.name === field);
    if (!f) throw new HeddleError({ code: "E0561", message: `task \`${taskName}\` has no field \`${field}\``, help: `its fields are ${task.fields.map((x) => x.name).join(", ")}`, exit: 2 });
    return findStream(spec, f.stream);
  });
  const bar = startProgress(taskName, 20);
  const requests = Array.from({ length: Math.max(1, flags.count) }, () => given);
  const results = await model.runMany(taskName, requests, { seed: flags.seed, samplers: overrides(flags.set), progress: (field, done, total) => bar.update(done, total, field) });
  bar.stop();
  if (flags.json) process.stdout.write(`${JSON.stringify(results.map(jsonOf), null, 2)}\n`);
  for (const [i, fields] of results.entries())
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value === "string") {
        if (!flags.json) process.stdout.write(`${value}\n`);
        continue;
      }
      if (flags.out !== undefined) {
        const file = results.length > 1 ? flags.out.replace(/(\.png)?$/i, `-${i}.png`) : flags.out;
        await writeAtomically(file, encode({ width: value.width, height: value.height, channels: value.channels as 1 | 3, depth: 8, data: imageBytes(value) }));
        process.stderr.write(`${name}: ${file}\n`);
      } else if (!flags.json)
        process.stdout.write(`${preview([{ pixels: value.data, width: value.width, height: value.height, channels: value.channels as 1 | 3, caption: name }], { colour: takesColour(process.stdout, process.env) })}\n`);
    }
}

const jsonOf = (fields: Record<string, FieldOutput>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).map(([n, v]) => [n, typeof v === "string" ? v : { ...v, data: Array.from(v.data) }]));

function overrides(pairs: readonly string[]): Record<string, { kind?: string } & Record<string, number | string>> {
  const out: Record<string, { kind?: string } & Record<string, number | string>> = {};
  for (const pair of pairs) {
    const match = /^(\w+)\.(\w+)=(.+)$/.exec(pair);
    const [, stream, name, text] = match ?? [];
    if (!stream || !name || text === undefined) throw new HeddleError({ code: "E0582", message: `\`${pair}\` is not \`stream.name=value\``, help: "for example --set image.steps=20", exit: 2 });
    const value = name === "kind" ? text : Number(text);
    if (typeof value === "number" && !Number.isFinite(value)) throw new HeddleError({ code: "E0582", message: `\`${text}\` is not a number`, exit: 2 });
    out[stream] = { ...out[stream], [name]: value };
  }
  return out;
}
