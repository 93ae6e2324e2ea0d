// Heddle as a contender: a spec to a machine on the adapter that peers/adapter.mjs chose too. In: a spec's path. Out: a Machine.

import { join } from "node:path";
import { bundled, root } from "./peers/bundled.mjs";

const ENTRY = `
export { compileModel } from "./compiler/compile.ts";
export { checkSpec } from "./cli/spec.ts";
export { targetOf } from "./cli/compile.ts";
export { version } from "./cli/package_root.ts";
export { describeNodeAdapter, openNodeDevice } from "./runtime/device/node.ts";
export { Machine } from "./runtime/exec/machine.ts";
export { layoutSample } from "./runtime/sequence/layout.ts";
export { packSequences } from "./runtime/sequence/batch.ts";
export { pick, trainingInputs } from "./runtime/train/inputs.ts";
export { initialParameters } from "./runtime/train/initial.ts";
`;

export const sources = () => bundled("heddle", { stdin: { contents: ENTRY, resolveDir: root } });

/**
 * @param {string} spec path in the repository
 * @param {{ programs: string[], train?: object, checked?: boolean, model?: string }} options `train` replaces settings of the spec
 */
export async function openHeddle(spec, { programs, train = {}, checked = false, model: wanted }) {
  const heddle = await sources();
  const { models, diagnostics } = heddle.checkSpec(join(root, spec));
  const found = wanted === undefined ? models[0] : models.find(({ name }) => name === wanted);
  if (found === undefined || diagnostics.some(({ severity }) => severity === "error")) throw new Error(JSON.stringify(diagnostics, undefined, 2));
  const model = { ...found, train: { ...found.train, ...train } };
  const target = heddle.targetOf(await heddle.describeNodeAdapter());
  const result = heddle.compileModel(model, { target, programs });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics, undefined, 2));
  const { compiled } = result;
  const unproven = Object.values(compiled.plans).flatMap((plan) =>
    flat(plan.steps).filter(({ module }) => !plan.modules[module].proven).map((step) => `${plan.name}: ${step.name} (${step.path})`));
  if (unproven.length > 0) console.error(`not proven in bounds, so Dawn's checks stay on:\n${unproven.join("\n")}`);
  const trusted = !checked && unproven.length === 0;
  const host = await heddle.openNodeDevice({ trusted });
  const machine = new heddle.Machine(host, compiled);
  return { heddle, machine, compiled, title: `Heddle ${heddle.version}`, dawnFeatures: trusted ? "disable_robustness" : "" };
}

const flat = (steps) => steps.flatMap((step) => (step.kind === "repeat" ? flat(step.steps) : [step]));
