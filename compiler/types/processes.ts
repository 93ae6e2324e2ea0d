// `process … on stream`, `sample … = …`: how a stream is corrupted in training and made again.
// In: members of a model. Out: Process and Sampler data. Refuses a process on discrete tokens, a sampler that does not fit its stream
// or process; what checks but does not run yet (`absorb`, `discrete_flow`, `next_scale`) says so.

import { didYouMean } from "../../grammar/suggest.ts";
import type { ProcessDecl, SampleMember } from "../ast/nodes.ts";
import { configured } from "./configured.ts";
import type { Table } from "./configured.ts";
import type { Context } from "./context.ts";
import type { Process, Sampler, Stream } from "./model.ts";
import type { Env } from "./values.ts";

const levels = { name: "levels", kind: "words", words: ["uniform", "logit_normal(…)"], optional: true } as const;
const processes: Table = {
  diffusion: [
    { name: "schedule", kind: "words", words: ["cosine", "linear"], fallback: "cosine" },
    { name: "predict", kind: "words", words: ["noise", "velocity", "clean"], fallback: "noise" }, levels,
  ],
  flow: [{ name: "schedule", kind: "words", words: ["linear"], fallback: "linear" }, { name: "predict", kind: "words", words: ["velocity", "clean", "noise"], fallback: "velocity" }, levels],
  absorb: [{ name: "schedule", kind: "words", words: ["cosine", "linear"], fallback: "cosine" }, { name: "mask", kind: "any", optional: true }],
  discrete_flow: [{ name: "schedule", kind: "words", words: ["cosine", "linear"], fallback: "linear" }, { name: "source", kind: "words", words: ["mask", "uniform"], fallback: "mask" }],
  next_scale: [{ name: "scales", kind: "any", optional: true }],
};
const draws: Table = { logit_normal: [{ name: "mean", kind: "float", fallback: 0 }, { name: "std", kind: "float", fallback: 1, min: 0 }] };

export function makeProcess(cx: Context, d: ProcessDecl, env: Env, streams: readonly Stream[], known: ReadonlySet<string>): Process[] {
  if (!d.value) {
    cx.later("E0402", `process \`${d.name.text}\` checks, but processes of one's own are not built yet`, d.name.span);
    return [];
  }
  const callee = d.value.kind === "call" ? d.value.callee : d.value;
  const own = callee.kind === "name" && !processes[callee.text] ? env.scope.find(callee.text)?.value() : undefined;
  const isOwn = own?.kind === "decl" && own.decl.kind === "process";
  if (isOwn) cx.later("E0402", `process \`${d.name.text}\` checks, but processes of one's own are not built yet`, d.value.span);
  const c = isOwn ? undefined : configured(cx, d.value, processes, "a process", env);
  if (!c && !isOwn) return [];
  if (d.on.length === 0) cx.report("E0315", `process \`${d.name.text}\` names no stream`, d.name.span, { help: `write \`process ${d.name.text} on ${streams.find((s) => s.kind === "continuous")?.name ?? "image"} = …\`` });
  const built = c?.name === "diffusion" || c?.name === "flow";
  if (c && !built) cx.later("E0402", `\`${c.name}\` checks, but it is not built yet`, c.span, { help: "`diffusion` and `flow` are built" });
  const law = c?.exprs["levels"];
  const drawn = law ? configured(cx, law, draws, "a law of levels", env) : undefined;
  return d.on.flatMap((on): Process[] => {
    const stream = streams.find((s) => s.name === on.text);
    if (!stream) {
      if (!known.has(on.text)) cx.report("E0201", `there is no stream \`${on.text}\``, on.span, { help: didYouMean(on.text, known) });
      return [];
    }
    if (c && built && stream.kind !== "continuous") {
      cx.report("E0309", `\`${c.name}\` adds noise to numbers, and stream \`${on.text}\` holds ${stream.kind === "text" ? "text" : "discrete tokens"}`, on.span, {
        also: [{ span: stream.span, text: "declared here" }], help: stream.kind === "text" ? "text is predicted token by token without a process" : "discrete tokens use `absorb` or `discrete_flow`",
      });
      return [];
    }
    if (c && (c.name === "absorb" || c.name === "discrete_flow") && stream.kind === "continuous") {
      cx.report("E0309", `\`${c.name}\` replaces discrete tokens, and stream \`${on.text}\` holds numbers`, on.span, { also: [{ span: stream.span, text: "declared here" }], help: "numbers use `diffusion` or `flow`" });
      return [];
    }
    const predict = c?.words["predict"];
    return [{
      name: d.name.text, stream: stream.name, kind: c && built ? (c.name as "diffusion" | "flow") : "other", schedule: c?.words["schedule"] ?? "linear",
      predict: predict === "velocity" || predict === "clean" ? predict : "noise",
      levels: drawn ? { kind: "logit_normal", mean: drawn.numbers["mean"] ?? 0, std: drawn.numbers["std"] ?? 1 } : { kind: "uniform" }, span: d.name.span,
    }];
  });
}

const max = { name: "max", kind: "int", min: 1, optional: true } as const;
const temperature = { name: "temperature", kind: "float", min: 0, fallback: 1 } as const;
const solver = [{ name: "steps", kind: "int", min: 1, fallback: 50 }, { name: "guidance", kind: "float", min: 0, fallback: 1 }, { name: "clip", kind: "float", min: 0, fallback: 1 }] as const;
const samplers: Table = {
  greedy: [max],
  temperature: [{ name: "temperature", kind: "float", min: 0 }, max],
  top_k: [{ name: "k", kind: "int", min: 1 }, temperature, max],
  nucleus: [{ name: "p", kind: "float", min: 0, max: 1 }, temperature, { name: "k", kind: "int", min: 1, optional: true }, max],
  ddim: solver,
  euler: solver,
  heun: solver,
  parallel: [{ name: "steps", kind: "int", min: 1, fallback: 12 }, temperature],
};
const solvers = ["ddim", "euler", "heun"];

export function makeSampler(cx: Context, m: SampleMember, env: Env, streams: readonly Stream[], known: ReadonlySet<string>, all: readonly Process[]): Sampler | undefined {
  const stream = streams.find((s) => s.name === m.stream.text);
  if (!stream && !known.has(m.stream.text)) cx.report("E0201", `there is no stream \`${m.stream.text}\``, m.stream.span, { help: didYouMean(m.stream.text, known) });
  const c = configured(cx, m.value, samplers, "a sampler", env);
  if (!c || !stream) return undefined;
  const process = all.find((p) => p.stream === stream.name);
  if (c.name === "parallel") {
    cx.later("E0411", "`parallel` sampling checks, but it is not built yet", c.span);
    return undefined;
  }
  if (solvers.includes(c.name) !== (stream.kind === "continuous")) {
    cx.report("E0310", `\`${c.name}\` does not sample stream \`${stream.name}\``, c.nameSpan, {
      label: solvers.includes(c.name) ? "solves for numbers" : "chooses among tokens",
      also: [{ span: stream.span, text: stream.kind === "continuous" ? "this stream holds numbers" : "this stream holds tokens" }],
      help: stream.kind === "continuous" ? "use `ddim`, `euler` or `heun`" : "use `nucleus`, `top_k`, `temperature` or `greedy`",
    });
    return undefined;
  }
  if (c.name === "ddim" && process?.kind === "flow") {
    cx.report("E0310", "`ddim` is for diffusion, and the process is a flow", c.nameSpan, { also: [{ span: process.span, text: `\`${process.name}\` is a flow` }], help: "use `euler` or `heun`" });
    return undefined;
  }
  return { stream: stream.name, kind: c.name, args: c.numbers, span: m.stream.span };
}
