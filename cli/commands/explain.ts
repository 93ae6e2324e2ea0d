// heddle explain: pages of error codes, and what the compiler made of a spec: mask, memory, kernels, graphs, WGSL, cost.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { compileModel, INFERENCE, trainingPrograms } from "../../compiler/compile.ts";
import { layoutPlan } from "../../compiler/plan/layout.ts";
import { evalInt } from "../../compiler/plan/expr.ts";
import type { ProgramName } from "../../compiler/plan/manifest.ts";
import type { Model } from "../../compiler/types/model.ts";
import { besideLength } from "../../compiler/types/streams.ts";
import { codes } from "../../grammar/codes.ts";
import { didYouMean } from "../../grammar/suggest.ts";
import { HeddleError } from "../../runtime/error.ts";
import { kernelsFor } from "../compile.ts";
import { packageRoot } from "../package_root.ts";
import { maskErrors, maskWarnings, modelOf } from "../spec.ts";
import { cacheText } from "./explain_cache.ts";
import type { MaskOptions } from "./explain_mask.ts";
import { explainMask } from "./explain_mask.ts";
import type { RoutingOptions } from "./explain_routing.ts";
import { explainRouting } from "./explain_routing.ts";

const topics = ["mask", "routing", "memory", "cost", "cache", "graph", "kernels", "wgsl", "parameters"] as const;

/** Options that belong to some topics alone. */
const only: Readonly<Record<string, readonly (keyof Options)[]>> = {
  mask: ["task", "layer", "length", "svg", "png", "head", "documents", "padding", "tile", "mask"],
  routing: ["task", "layer", "length", "svg", "png", "samples", "data", "split", "weights", "raw", "seed"],
};
const collect = (value: string, all: string[]): string[] => [...all, value];

interface Options extends MaskOptions, RoutingOptions {
  model?: string;
  program?: string;
  pass?: string;
  batch: string;
  tokens: string;
}

export function addExplain(program: Command): void {
  program
    .command("explain")
    .description(`explain an error code (E0214), or ${topics.join(", ")} of a spec`)
    .argument("<what>", "error code or topic")
    .argument("[spec]", ".heddle file, for a topic")
    .option("--model <name>", "which model or variant of the spec")
    .option("--program <name>", "grad, apply, step or denoise (default: all)")
    .option("--pass <name>", "the graph or kernels after this pass: lower, rewrite, sums, remat, narrow, fuse, merge")
    .option("--target <name>", "kernels for: auto, guaranteed, software", "auto")
    .option("--precision <name>", "storage of what attention reads and of the cache: f32, f16; arithmetic is f32", "f32")
    .option("--batch <n>", "rows, for memory and cost", "1")
    .option("--tokens <n>", "tokens a row, for memory and cost", "64")
    .option("--task <name>", "mask, routing: this task alone")
    .option("--layer <n>", "mask, routing: this attention or routed layer alone, in order of application, from 0; of routing also by its path")
    .option("--head <n>", "mask: this head alone, from 0")
    .option("--length <field=n>", "mask, routing: tokens of a field in the sample, or of every text (repeatable)", collect, [])
    .option("--documents <n>", "mask: samples packed into the row")
    .option("--padding <n>", "mask: empty places at the end of the row")
    .option("--tile <n>", "mask: tokens of a tile in each direction")
    .option("--mask <expression>", "mask: this one in place of the model's, such as 'causal & window(4)'")
    .option("--weights <path>", "routing: safetensors file, checkpoint, or --out folder of `train`; else fresh weights")
    .option("--raw", "routing: the weights themselves where there is an average of them too")
    .option("--data <dir>", "routing: samples of this folder instead of made-up ones")
    .option("--split <name>", "routing: rows of this split")
    .option("--samples <n>", "routing: samples of each task (default: 1 made up, 8 of --data)")
    .option("--seed <n>", "routing: of fresh weights, noise, and which samples (default: 0)")
    .option("--svg <file>", "mask, routing: write an SVG here (- for stdout)")
    .option("--png <file>", "mask, routing: write a PNG here (- for stdout)")
    .option("--json", "as JSON on stdout")
    .action(async (what: string, spec: string | undefined, options: Options) => {
      if (/^[BEW]\d{4}$/i.test(what)) return explainCode(what.toUpperCase(), options.json ?? false);
      const topic = topics.find((t) => t === what);
      if (!topic) throw new HeddleError({ code: "E0582", message: `there is nothing called \`${what}\` to explain`, help: didYouMean(what, [...topics]) ?? `an error code, or one of ${topics.join(", ")}`, exit: 2 });
      if (spec === undefined) throw new HeddleError({ code: "E0582", message: `\`heddle explain ${topic}\` needs a spec`, exit: 2 });
      const own = only[topic] ?? [];
      const stray = Object.values(only).flat().find((o) => !own.includes(o) && options[o] !== undefined && String(options[o]) !== "");
      if (stray) throw new HeddleError({ code: "E0582", message: `--${stray} is for ${Object.keys(only).filter((t) => only[t]?.includes(stray)).map((t) => `\`heddle explain ${t}\``).join(" and ")}`, exit: 2 });
      const asked = topic === "mask" && options.mask !== undefined;
      const drawn = topic === "mask" || topic === "routing";
      const { model, checked } = modelOf(spec, options.model, asked || topic === "routing" ? maskWarnings : topic === "mask" ? ["W0602"] : [], drawn ? maskErrors : []);
      if (topic === "routing") return explainRouting(spec, model, checked, options);
      if (topic === "mask") return explainMask(model, checked, options);
      await explainTopic(topic, model, options);
    });
}

function explainCode(code: string, json: boolean): void {
  const page = path.join(packageRoot, "docs", "errors", `${code}.md`);
  if (!(code in codes) && !existsSync(page)) throw new HeddleError({ code: "E0582", message: `there is no code ${code}`, help: didYouMean(code, Object.keys(codes)), exit: 2 });
  const text = readFileSync(page, "utf8");
  process.stdout.write(json ? `${JSON.stringify({ code, page: text })}\n` : text);
}

function oneOf<T extends string>(kind: string, name: string, known: readonly T[]): T {
  const found = known.find((k) => k === name);
  if (found === undefined) throw new HeddleError({ code: "E0582", message: `there is no ${kind} \`${name}\``, help: didYouMean(name, known) ?? `use one of ${known.join(", ")}`, exit: 2 });
  return found;
}

function count(text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 1) throw new HeddleError({ code: "E0582", message: `\`${text}\` is not a whole number from 1`, exit: 2 });
  return n;
}

async function explainTopic(topic: (typeof topics)[number], model: Model, options: Options): Promise<void> {
  const say = (text: string): void => void process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
  if (topic === "parameters") {
    for (const p of model.parameters) {
      const start = p.from === undefined ? `${p.init.kind}${p.alike ? ", experts alike" : ""}` : `as ${p.from}`;
      say([p.path, `[${p.axes.map((a) => `${a.name} ${a.size.terms[0]?.coef ?? 0}`).join(", ")}]`, start, ...(p.decay ? [] : ["no decay"]), ...(p.frozen ? ["frozen"] : []), ...(p.balance === undefined ? [] : ["moved by load"])].join("  "));
    }
    return;
  }
  const { target, precision } = await kernelsFor(options);
  const known: ProgramName[] = [...trainingPrograms(model), ...INFERENCE, "loss", "forward"];
  const programs = options.program === undefined ? known.filter((p) => p !== "loss" && p !== "forward") : [oneOf("program", options.program, known)];
  const stages: { program: string; pass: string; print: () => string }[] = [];
  const result = compileModel(model, { target, programs, precision, observer: { stage: (program, pass, print) => stages.push({ program, pass, print }) } });
  if (!result.ok) throw new Error("a model with parts that are not built reached the compiler");
  const { compiled } = result;
  if (topic === "cache") return say(cacheText(model, compiled, count(options.batch), count(options.tokens)));
  if (topic === "graph" || topic === "kernels") {
    const pass = oneOf("pass", options.pass ?? (topic === "graph" ? "rewrite" : "merge"), [...new Set(stages.map((s) => s.pass))]);
    for (const s of stages) if (s.pass === pass) say(`# ${s.program} after ${s.pass}\n${s.print()}`);
    return;
  }
  if (topic === "wgsl") {
    for (const [name, plan] of Object.entries(compiled.plans)) plan.modules.forEach((m, i) => say(`// ${name} module ${i}${m.proven ? ", proven in bounds" : ""}\n${m.wgsl}`));
    return;
  }
  const batch = count(options.batch);
  const tokens = count(options.tokens);
  const lengths = { batch, t: tokens, s: tokens, spare: 0, ...Object.fromEntries(model.streams.filter((s) => s.beside).map((s) => [besideLength(s.name), tokens])) };
  const rows = Object.entries(compiled.plans).map(([name, plan]) => {
    const l = layoutPlan(plan, lengths);
    return {
      program: name,
      dispatches: plan.cost.dispatches,
      kernels: plan.modules.length,
      flops: evalInt(plan.cost.flops, { ...lengths, chunk: 0 }),
      bytesMoved: evalInt(plan.cost.bytesMoved, { ...lengths, chunk: 0 }),
      peakBytes: l.peakBytes,
      tempBytes: l.tempBytes,
      stateBytes: l.stateBytes,
      proven: plan.modules.filter((m) => m.proven).length,
    };
  });
  if (options.json) return say(JSON.stringify({ target: target.name, lengths, programs: rows }, null, 2));
  const mib = (b: number): string => `${(b / 2 ** 20).toFixed(2)} MiB`;
  say(`${target.name} kernels, ${batch} rows of ${tokens} tokens`);
  for (const r of rows)
    say(
      topic === "memory"
        ? `${r.program}: peak ${mib(r.peakBytes)} (temporaries ${mib(r.tempBytes)}), states ${mib(r.stateBytes)}`
        : `${r.program}: ${r.dispatches} dispatches of ${r.kernels} kernels (${r.proven} proven in bounds), ${(r.flops / 1e6).toFixed(2)} Mflop, ${mib(r.bytesMoved)} moved`,
    );
}
