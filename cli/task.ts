// Runs one task of a model that is ready, for `generate` and `run`: fields from the command line, results as text, PNG files, previews
// or JSON.

import { existsSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { encode } from "fast-png";
import type { ModelSpec } from "../compiler/plan/manifest.ts";
import { HeddleError } from "../runtime/error.ts";
import type { FieldInput, FieldOutput, GenerativeModel, RunOptions } from "../runtime/generate/model.ts";
import { findStream, findTask, neededFields } from "../runtime/sequence/layout.ts";
import { imageBytes } from "../runtime/tokenize/image.ts";
import { writeAtomically } from "../runtime/weights/file.ts";
import { parseFields } from "./fields.ts";
import { startProgress } from "./progress.ts";
import { preview, takesColour } from "./show/preview.ts";

export interface RunFlags {
  seed: number;
  count: number;
  out?: string;
  set: string[];
  json?: boolean;
}

const integer = (text: string): number => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 0) throw new HeddleError({ code: "E0582", message: `\`${text}\` is not a whole number`, exit: 2 });
  return n;
};
const positive = (text: string): number => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1) throw new HeddleError({ code: "E0582", message: `\`${text}\` is not a whole number from 1`, exit: 2 });
  return n;
};
/** A file in a folder that exists: said before the drawing, not after it. */
const writable = (file: string): string => {
  if (!existsSync(path.dirname(path.resolve(file)))) throw new HeddleError({ code: "E0512", message: `cannot write \`${file}\`: its folder does not exist`, help: "make the folder or save elsewhere", exit: 2 });
  return file;
};
const collect = (value: string, all: string[]): string[] => [...all, value];

/** Options that both commands have. */
export const taskOptions = (c: Command): Command =>
  c
    .option("--seed <n>", "seed of every random choice", integer, 0)
    .option("-n, --count <n>", "how many, with seeds following --seed", positive, 1)
    .option("-o, --out <file>", "write images here (PNG; with --count a number is put in)", writable)
    .option("--set <stream.name=value>", "override a sampler: image.steps=20, image.guidance=2, text.p=0.8", collect, [])
    .option("--json", "the result as JSON on stdout");

/** The given fields of a task, all of them and no others; asked for before anything slow begins. */
export function givenFields(spec: ModelSpec, taskName: string, pairs: readonly string[]): Record<string, FieldInput> {
  const task = findTask(spec, taskName);
  const given = parseFields(pairs, (field) => {
    const f = task.fields.find((x) => x.name === field);
    if (!f) throw new HeddleError({ code: "E0561", message: `task \`${taskName}\` has no field \`${field}\``, help: `its fields are ${task.fields.map((x) => x.name).join(", ")}`, exit: 2 });
    return findStream(spec, f.stream);
  });
  for (const f of task.fields)
    if (neededFields(task).includes(f.name) && given[f.name] === undefined)
      throw new HeddleError({ code: "E0561", message: `task \`${taskName}\` needs the field \`${f.name}\``, help: `give ${f.name}=${findStream(spec, f.stream).kind === "text" ? "text" : "image.png"}`, exit: 2 });
  return given;
}

export async function runTask(model: GenerativeModel, taskName: string, given: Readonly<Record<string, FieldInput>>, flags: RunFlags, onSamples?: RunOptions["onSamples"]): Promise<void> {
  const bar = startProgress(taskName, 20);
  const requests = Array.from({ length: flags.count }, () => given);
  const results = await model.runMany(taskName, requests, { seed: flags.seed, samplers: overrides(flags.set), progress: (field, done, total) => bar.update(done, total, field), ...(onSamples ? { onSamples } : {}) });
  bar.stop();
  if (flags.json) process.stdout.write(`${JSON.stringify(results.map(jsonOf), null, 2)}\n`);
  for (const [i, fields] of results.entries())
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value === "string") {
        if (!flags.json) process.stdout.write(`${process.stdout.isTTY ? printable(value) : value}\n`);
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

/** An untrained model may say control characters: a terminal must not obey them. */
const printable = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
