// heddle generate SPEC --weights … TASK field=value …: compile a spec and fill in a task's predicted fields.

import { readFileSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { INFERENCE } from "../../compiler/compile.ts";
import { Machine } from "../../runtime/exec/machine.ts";
import { GenerativeModel, openCodecs } from "../../runtime/generate/model.ts";
import { loadParameters } from "../../runtime/weights/parameters.ts";
import { compileFor, kernelsFor, openFor } from "../compile.ts";
import { MaskWatch } from "../mask_watch.ts";
import { maskWarnings, modelOf, report } from "../spec.ts";
import { givenFields, type RunFlags, runTask, taskOptions } from "../task.ts";
import { readWeights } from "../weights.ts";

interface GenerateFlags extends RunFlags {
  weights: string;
  raw?: boolean;
  model?: string;
  target: string;
  precision: string;
}

export function addGenerate(program: Command): void {
  taskOptions(
    program
      .command("generate")
      .description("compile a spec and run a task with given weights")
      .argument("<spec>", ".heddle file")
      .argument("<task>", "task of the model")
      .argument("[fields...]", 'given fields: caption="digit 7" picture=seven.png')
      .requiredOption("--weights <path>", "safetensors file, checkpoint, or --out folder of a training run")
      .option("--raw", "the weights themselves where a run also keeps their average (EMA)")
      .option("--model <name>", "which model or variant of the spec")
      .option("--target <name>", "kernels for: auto, guaranteed, software", "auto")
      .option("--precision <name>", "storage of what attention reads and of the cache: f32, f16; arithmetic is f32", "f32"),
  ).action(async (file: string, task: string, fields: string[], flags: GenerateFlags) => {
    const { model, checked } = modelOf(file, flags.model, maskWarnings);
    const weights = await readWeights(flags.weights, flags.raw ?? false);
    const { target, precision } = await kernelsFor(flags);
    const compiled = compileFor(model, target, INFERENCE, { precision, sources: checked.sources });
    const values = loadParameters(compiled.spec, weights.bytes, weights.file);
    const given = givenFields(compiled.spec, task, fields);
    const codecs = await openCodecs(compiled.spec.streams, async (name) => readFileSync(path.join(path.dirname(file), name), "utf8"));
    const host = await openFor(compiled);
    const machine = new Machine(host, compiled);
    machine.states.write("params", values);
    const ready = new GenerativeModel(machine, codecs);
    try {
      const watch = new MaskWatch(model);
      await runTask(ready, task, given, flags, (samples) => report({ diagnostics: watch.look(samples).filter((d) => d.code === "W0604"), sources: checked.sources }, false));
    } finally {
      await ready.destroy();
      await host.destroy();
    }
  });
}
