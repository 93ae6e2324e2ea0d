// `train { … }`: the optimizer and its settings, with defaults. In: the bindings of the block. Out: TrainSettings.
// Refuses unknown settings and numbers out of range; settings that check but do nothing yet say so.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { Expr, Ident, Member } from "../ast/nodes.ts";
import { configured, setting } from "./configured.ts";
import type { Setting, Table } from "./configured.ts";
import type { Context } from "./context.ts";
import type { TrainSettings } from "./model.ts";
import type { Env } from "./values.ts";
import { describe } from "./values.ts";

export const defaults: TrainSettings = {
  optimizer: "adamw", lr: 3e-4, minLr: 3e-5, warmup: 100, steps: 2000, batch: 16, accumulate: 1, betas: [0.9, 0.95], eps: 1e-8,
  decay: 0.1, clip: 1, ema: 0, seed: 1,
};

const optimizer: Table = {
  adamw: [
    { name: "lr", kind: "float", min: 0, optional: true }, { name: "betas", kind: "numbers", optional: true }, { name: "eps", kind: "float", min: 0, optional: true },
    { name: "decay", kind: "float", min: 0, optional: true },
  ],
};

const settings: readonly Setting[] = [
  { name: "lr", kind: "float", min: 0 }, { name: "min_lr", kind: "float", min: 0 }, { name: "warmup", kind: "int", min: 0 }, { name: "steps", kind: "int", min: 1 },
  { name: "batch", kind: "int", min: 1 }, { name: "accumulate", kind: "int", min: 1 }, { name: "betas", kind: "numbers" }, { name: "eps", kind: "float", min: 0 },
  { name: "decay", kind: "float", min: 0 }, { name: "clip", kind: "float", min: 0 }, { name: "ema", kind: "float", min: 0, max: 1 }, { name: "seed", kind: "int", min: 0 },
];
const later = ["precision", "freeze", "schedule", "teacher", "data"];

interface Values {
  readonly numbers: Record<string, number>;
  readonly words: Record<string, string>;
  readonly lists: Record<string, readonly number[]>;
  readonly exprs: Record<string, Expr>;
}

export function makeTrain(cx: Context, members: readonly Member[], env: Env, adamw: Expr | null, at: Span): TrainSettings {
  const out: Values = { numbers: {}, words: {}, lists: {}, exprs: {} };
  const seen = new Map<string, Ident>();
  if (adamw) optimizerOf(cx, adamw, env, out);
  const visit = (all: readonly Member[]): void => {
    for (const m of all) {
      if (m.kind === "when_members") {
        const c = cx.evaluate.expr(cx, m.condition, env);
        if (c.kind === "bool") visit(c.value ? m.members : (m.otherwise ?? []));
        else if (c.kind !== "poison") cx.report("E0224", `\`when\` decides while the model is built, and this is ${describe(c)}`, m.condition.span);
        continue;
      }
      if (m.kind !== "binding") continue;
      const name = m.name.text;
      const old = seen.get(name);
      if (old) {
        cx.report("E0203", `\`${name}\` is set twice`, m.name.span, { also: [{ span: old.span, text: "first here" }] });
        continue;
      }
      seen.set(name, m.name);
      const s = settings.find((x) => x.name === name);
      if (name === "optimizer") optimizerOf(cx, m.value, env, out);
      else if (s) setting(cx, s, m.value, "train", env, out);
      else if (later.includes(name)) cx.later("E0411", `the setting \`${name}\` checks, but it is not built yet`, m.name.span);
      else cx.report("E0316", `training has no setting \`${name}\``, m.name.span, { help: didYouMean(name, ["optimizer", ...settings.map((x) => x.name)]) ?? `the settings are \`optimizer\`, ${settings.map((x) => `\`${x.name}\``).join(", ")}` });
    }
  };
  visit(members);
  const { numbers: n } = out;
  const lr = n["lr"] ?? defaults.lr;
  const betas = out.lists["betas"];
  if (betas && (betas.length !== 2 || betas.some((b) => b < 0 || b >= 1))) cx.report("E0319", "`betas` are two numbers from 0 up to, and not including, 1", (seen.get("betas") ?? seen.get("optimizer") ?? adamw)?.span ?? at);
  return {
    optimizer: "adamw", lr, minLr: n["min_lr"] ?? lr / 10, warmup: n["warmup"] ?? defaults.warmup, steps: n["steps"] ?? defaults.steps, batch: n["batch"] ?? defaults.batch,
    accumulate: n["accumulate"] ?? defaults.accumulate, betas: betas?.length === 2 ? [betas[0] ?? 0.9, betas[1] ?? 0.95] : defaults.betas, eps: n["eps"] ?? defaults.eps,
    decay: n["decay"] ?? defaults.decay, clip: n["clip"] ?? defaults.clip, ema: n["ema"] ?? defaults.ema, seed: n["seed"] ?? defaults.seed,
  };
}

function optimizerOf(cx: Context, e: Expr, env: Env, out: Values): void {
  const c = configured(cx, e, optimizer, "an optimizer", env);
  if (!c) return;
  Object.assign(out.numbers, c.numbers);
  Object.assign(out.lists, c.lists);
}
