// heddle train SPEC --data DIR: trains, with progress, metrics as JSONL, atomic checkpoints and exact resume. Ctrl-C saves.

import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { trainingPrograms } from "../../compiler/compile.ts";
import type { ModelSpec, TrainSpec } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../../runtime/error.ts";
import { Machine } from "../../runtime/exec/machine.ts";
import { openCodecs } from "../../runtime/generate/model.ts";
import { type Checkpoint, listCheckpoints, openCheckpoint, saveCheckpoint } from "../../runtime/train/checkpoint.ts";
import { rowsFile } from "../../runtime/train/data.ts";
import { initialParameters } from "../../runtime/train/initial.ts";
import { type Metrics, trainLoop } from "../../runtime/train/loop.ts";
import { routingSummary } from "../../runtime/train/routing.ts";
import { upcycle, upcycledText } from "../../runtime/train/upcycle.ts";
import { loadEntries, parameterTensors } from "../../runtime/weights/parameters.ts";
import { parseSafetensors } from "../../runtime/weights/safetensors.ts";
import { writeError } from "../../runtime/weights/file.ts";
import { compileFor, kernelsFor, openFor } from "../compile.ts";
import { EXIT, Exit } from "../exit_code.ts";
import { startProgress } from "../progress.ts";
import { MaskWatch } from "../mask_watch.ts";
import { hasErrors, modelOf, report } from "../spec.ts";
import { readWeights } from "../weights.ts";
import { openTrainingData } from "../training_data.ts";

interface Options {
  data: string;
  out: string;
  model?: string;
  split?: string;
  steps?: number;
  batch?: number;
  accumulate?: number;
  lr?: number;
  seed?: number;
  until?: number;
  saveEvery: number;
  keep: number;
  resume?: boolean | string;
  target: string;
  precision: string;
  remat?: boolean;
  init?: string;
  json?: boolean;
}

const number = (text: string): number => {
  const n = Number(text);
  if (text.trim() === "" || !Number.isFinite(n) || n < 0) throw new HeddleError({ code: "E0582", message: `\`${text}\` is not a number from 0`, exit: 2 });
  return n;
};
const whole = (least: number) => (text: string): number => {
  const n = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(n) || n < least) throw new HeddleError({ code: "E0582", message: `\`${text}\` is not a whole number from ${least}`, exit: 2 });
  return n;
};

export function addTrain(program: Command): void {
  program
    .command("train")
    .description("train a spec on a folder of images with captions, or of text")
    .argument("<spec>", ".heddle file")
    .requiredOption("--data <dir>", "folder with captions.jsonl and images, or with text.jsonl")
    .option("-o, --out <dir>", "where checkpoints and metrics.jsonl go", "run")
    .option("--model <name>", "which model or variant of the spec")
    .option("--split <name>", "rows of this split; `train` where the data names splits")
    .option("--steps <n>", "optimizer steps of the whole schedule", whole(1))
    .option("--until <n>", "stop after this step without changing the schedule", whole(0))
    .option("--batch <n>", "samples a step", whole(1))
    .option("--accumulate <n>", "micro-batches a step", whole(1))
    .option("--lr <x>", "peak learning rate", number)
    .option("--seed <n>", "seed of initial values, order, tasks and noise", whole(0))
    .option("--save-every <n>", "steps between checkpoints; 0 saves only at the end", whole(0), 500)
    .option("--keep <n>", "checkpoints kept", whole(1), 2)
    .option("--resume [checkpoint]", "go on from the newest checkpoint in --out, or from this one")
    .option("--init <path>", "start from these weights instead of random ones: safetensors file, checkpoint, or --out folder")
    .option("--target <name>", "kernels for: auto, guaranteed, software", "auto")
    .option("--precision <name>", "storage of what attention reads and of the cache: f32, f16; arithmetic is f32", "f32")
    .option("--remat", "recompute each block in the backward pass: less memory, more work")
    .option("--json", "metrics on stdout, one JSON object a step")
    .action(train);
}

async function train(file: string, options: Options): Promise<void> {
  // Whether generation can cache is no matter here.
  const { model, checked } = modelOf(file, options.model, ["W0602"]);
  const settings: TrainSpec = {
    ...model.train,
    ...(options.steps === undefined ? {} : { steps: options.steps }),
    ...(options.batch === undefined ? {} : { batch: options.batch }),
    ...(options.accumulate === undefined ? {} : { accumulate: options.accumulate }),
    ...(options.lr === undefined ? {} : { lr: options.lr, minLr: (model.train.minLr * options.lr) / model.train.lr }),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
  };
  const trained = { ...model, train: settings };
  const existing = await listCheckpoints(options.out);
  if (existing.length > 0 && options.resume === undefined)
    throw new HeddleError({ code: "E0584", message: `\`${options.out}\` already holds a run`, place: options.out, help: "go on with --resume, or choose another --out", exit: 2 });
  const from = options.resume === undefined ? undefined : await openCheckpoint(typeof options.resume === "string" ? options.resume : options.out);
  const { target, precision } = await kernelsFor(options);
  const compiled = compileFor(trained, target, trainingPrograms(trained), { remat: options.remat ?? false, precision, sources: checked.sources });
  const codecs = await openCodecs(compiled.spec.streams, async (name) => readFileSync(path.join(path.dirname(file), name), "utf8"));
  const data = openTrainingData(options.data, compiled.spec, codecs, options.split ?? defaultSplit(options.data));
  const host = await openFor(compiled);
  const machine = new Machine(host, compiled);
  const fingerprint = { spec: compiled.spec.name, train: settings, parameters: compiled.spec.parameters.map((p) => p.path), precision };
  machine.allocateTraining();
  if (from) restore(machine, from, fingerprint, options.out);
  else {
    const values = options.init === undefined ? initialParameters(compiled.spec, settings.seed) : await given(compiled.spec, options.init, settings.seed);
    machine.states.write("params", values);
    if (settings.ema > 0) machine.states.write("ema", values);
  }
  const until = options.until ?? settings.steps;
  const metricsFile = path.join(options.out, "metrics.jsonl");
  prepareMetrics(options.out, metricsFile, from?.step ?? 0);
  const peak = machine.bytes;
  process.stderr.write(
    `model ${compiled.spec.name}: ${compiled.spec.parameters.reduce((n, p) => n + p.axes.reduce((k, a) => k * a.size, 1), 0).toLocaleString("en")} parameters, ` +
      `${data.count.toLocaleString("en")} samples, batch ${settings.batch}, ${settings.steps} steps on ${host.info.name} (${target.name} kernels), states ${(peak.states / 2 ** 20).toFixed(1)} MiB\n`,
  );
  const abort = new AbortController();
  const interrupt = (): void => {
    process.stderr.write("\nsaving before stopping; once more to stop at once\n");
    abort.abort();
    process.once("SIGINT", () => process.exit(EXIT.interrupted));
  };
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  const kernels = startProgress("kernels", 60);
  for (const name of trainingPrograms(trained)) await machine.program(name, (done, total) => kernels.update(done, total, name));
  kernels.stop();
  const bar = startProgress("training");
  let peakBytes = 0;
  const watch = new MaskWatch(model);
  const save = (step: number): Promise<void> => saveAll(machine, options, fingerprint, step);
  let saved = from?.step ?? -1;
  try {
    const end = await trainLoop(
      machine,
      { train: settings, data, from: from?.step ?? 0, until },
      {
        now: () => performance.now(),
        signal: abort.signal,
        onSamples: (samples) => {
          const found = watch.look(samples);
          if (found.length === 0) return;
          bar.say("this batch shows of the masks:");
          report({ diagnostics: found, sources: checked.sources }, false);
          if (hasErrors(found)) throw new Exit(EXIT.failed);
        },
        onShape: (lengths, bytes) => {
          if (bytes <= peakBytes) return;
          peakBytes = bytes;
          bar.say(`memory: ${((machine.states.bytes + bytes) / 2 ** 20).toFixed(1)} MiB for ${lengths.batch} rows of ${lengths.t} tokens`);
        },
        onStep: (m) => {
          appendMetrics(metricsFile, m);
          if (options.json) process.stdout.write(`${JSON.stringify(m)}\n`);
          bar.update(m.step, until, note(m, compiled.spec));
        },
        shouldSave: (step) => options.saveEvery > 0 && step % options.saveEvery === 0,
        save: async (step) => {
          await save(step);
          saved = step;
        },
      },
    );
    if (end.step !== saved) await save(end.step);
    bar.stop();
    process.stderr.write(`saved step ${end.step} in ${options.out}\n`);
    if (abort.signal.aborted) throw new Exit(EXIT.interrupted);
  } finally {
    bar.stop();
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
    await machine.destroy();
    await host.destroy();
  }
}

function note(m: Metrics, spec: ModelSpec): string {
  const routed = routingSummary(spec.routers ?? [], m.routing ?? []);
  return [
    `loss ${m.loss.toFixed(4)}`, ...Object.entries(m.terms).map(([n, v]) => `${n} ${v.toFixed(4)}`), ...(routed === "" ? [] : [routed]),
    `lr ${m.lr.toExponential(2)}`, `|g| ${m.grad_norm.toFixed(2)}`, `${(m.samples / m.seconds).toFixed(1)} samples/s`,
  ].join("  ");
}

/** Weights to start from; a spec with routed layers takes those of a model without them, and says what became of them. */
async function given(spec: ModelSpec, place: string, seed: number): Promise<Float32Array> {
  const { bytes, file } = await readWeights(place);
  const start = upcycle(spec, parseSafetensors(bytes, file).tensors, seed, file);
  const text = upcycledText(start);
  if (text !== undefined) process.stderr.write(`${file}: ${text}\n`);
  return start.values;
}

/** `train` where the folder's rows name splits. */
function defaultSplit(folder: string): string | undefined {
  const file = rowsFile(folder);
  if (file === undefined) return undefined;
  return file.endsWith(".gz") || /"split"\s*:\s*"train"/.test(readFileSync(file, "utf8").slice(0, 100_000)) ? "train" : undefined;
}

function prepareMetrics(out: string, file: string, step: number): void {
  try {
    mkdirSync(out, { recursive: true });
    if (step === 0) return writeFileSync(file, "");
    // Steps after the checkpoint are repeated: their old lines go.
    const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
    const keep = lines.filter((l) => l !== "" && (JSON.parse(l) as { step: number }).step <= step);
    writeFileSync(file, keep.map((l) => `${l}\n`).join(""));
  } catch (thrown) {
    throw writeError(file, thrown);
  }
}

function appendMetrics(file: string, m: Metrics): void {
  try {
    appendFileSync(file, `${JSON.stringify(m)}\n`);
  } catch (thrown) {
    throw writeError(file, thrown);
  }
}

async function saveAll(machine: Machine, options: Options, fingerprint: Record<string, unknown>, step: number): Promise<void> {
  const { spec, states } = machine;
  const part = async (buffer: string) => parameterTensors(spec, await states.read(buffer));
  const prefixed = async (buffer: string) => (await part(buffer)).map((t) => ({ ...t, name: `${buffer}/${t.name}` }));
  await saveCheckpoint(
    options.out,
    {
      step,
      state: fingerprint,
      tensors: {
        weights: await part("params"),
        optimizer: [...(await prefixed("adam.m")), ...(await prefixed("adam.v"))],
        ...(states.has("ema") ? { ema: await part("ema") } : {}),
      },
    },
    options.keep,
  );
}

function restore(machine: Machine, from: Checkpoint, fingerprint: Record<string, unknown>, place: string): void {
  const { spec, states } = machine;
  const differs = Object.keys(fingerprint).filter((k) => JSON.stringify(from.state[k] ?? (k === "precision" ? "f32" : undefined)) !== JSON.stringify(fingerprint[k]));
  if (differs.length > 0)
    throw new HeddleError({
      code: "E0539",
      message: `the checkpoint was made with other settings (${differs.join(", ")}), so going on would not repeat the run`,
      place: from.path,
      help: "give the same spec, --steps, --batch, --lr, --precision and --seed as before, or start a new --out",
    });
  const entries = (part: string, prefix: string) => {
    const file = from.tensors[part];
    if (!file) throw new HeddleError({ code: "E0537", message: `the checkpoint has no \`${part}.safetensors\``, place });
    return new Map([...file.tensors].filter(([n]) => n.startsWith(prefix)).map(([n, e]) => [n.slice(prefix.length), e]));
  };
  states.write("params", loadEntries(spec, entries("weights", ""), from.path));
  states.write("adam.m", loadEntries(spec, entries("optimizer", "adam.m/"), from.path));
  states.write("adam.v", loadEntries(spec, entries("optimizer", "adam.v/"), from.path));
  if (states.has("ema")) states.write("ema", loadEntries(spec, entries("ema", ""), from.path));
}

