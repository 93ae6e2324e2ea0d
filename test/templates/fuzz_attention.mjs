// Many random masks on the adapter against the graph interpreter, forward and gradients, and a summary of what they covered.
// Usage: node test/templates/fuzz_attention.mjs [--count 1000] [--seed 1] [--together 5] [--jobs 4] [--target software|guaranteed] [--case SEED]
//   --count     predicates in all
//   --together  predicates a kernel, one a head; a fifth of the cases have one alone
//   --target    all on one; else a quarter of the cases on `software`, whose kernels take longest to make, the rest on `guaranteed`
//   --case      one case alone, as a failure names it (with its --together and --target)
// HEDDLE_ADAPTER chooses the adapter. Exit code 0; 1 if a case is wrong; 2 for a wrong option.

import { exit, stderr } from "node:process";
import { parseArgs } from "node:util";
import { bundled, root } from "../bench/peers/bundled.mjs";

const ENTRY = `
export { guaranteed, software } from "./compiler/kernel/kernel.ts";
export { openNodeDevice } from "./runtime/device/node.ts";
export { inFlight, total, tryCase } from "./test/templates/attention_fuzz.ts";
`;

const number = (/** @type {string} */ text) => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 0) throw new Error(`${text} is no number`);
  return n;
};

/** @returns {{ count: number, seed: number, together: number, jobs: number, target?: string, only?: number }} */
function options() {
  try {
    const { values } = parseArgs({
      options: {
        count: { type: "string", default: "1000" }, seed: { type: "string", default: "1" }, together: { type: "string", default: "5" },
        jobs: { type: "string", default: "4" }, target: { type: "string" }, case: { type: "string" },
      },
    });
    if (values.target !== undefined && values.target !== "software" && values.target !== "guaranteed") throw new Error(`no target ${values.target}`);
    const [count, seed, together, jobs] = [values.count, values.seed, values.together, values.jobs].map(number);
    return { count, seed, together: Math.max(1, together), jobs: Math.max(1, jobs), target: values.target, only: values.case === undefined ? undefined : number(values.case) };
  } catch (thrown) {
    stderr.write(`${thrown.message}\n`);
    return exit(2);
  }
}

const { count, seed, together, jobs, target, only } = options();
const heddle = await bundled("fuzz-attention", { stdin: { contents: ENTRY, resolveDir: root } });

/** Cases until `count` predicates are in them. */
const cases = [];
if (only !== undefined) cases.push({ seed: only, together });
else for (let made = 0, i = 0; made < count; i++) {
  const size = Math.min(count - made, i % 5 === 4 ? 1 : together);
  cases.push({ seed: seed * 100_000 + i, together: size });
  made += size;
}
cases.forEach((c, i) => (c.target = heddle[target ?? (i % 4 === 0 ? "software" : "guaranteed")]));

const host = await heddle.openNodeDevice();
const started = Date.now();
let done = 0;
const outcomes = await heddle.inFlight(cases, jobs, async (c) => {
  const outcome = await heddle.tryCase(c.seed, c.together, c.target, host);
  if (outcome.wrong !== undefined) stderr.write(`wrong: ${outcome.wrong}\n  --case ${c.seed} --together ${c.together} --target ${c.target.name}\n  ${outcome.text}\n`);
  if (++done % 20 === 0) stderr.write(`${done} of ${cases.length} cases, ${Math.round((Date.now() - started) / 1000)} s\n`);
  return outcome;
});
const name = host.info.name;
await host.destroy();

const all = heddle.total(outcomes);
const wrong = outcomes.filter((o) => o.wrong !== undefined).length;
const share = (/** @type {number} */ n, /** @type {number} */ of) => `${((100 * n) / of).toFixed(1)}%`;
const tiles = all.empty + all.full + all.mixed;
const on = (/** @type {string} */ t) => outcomes.filter((_, i) => cases[i].target.name === t).reduce((n, o) => n + o.predicates, 0);
console.log(`${all.predicates} random predicates (${on("software")} for software, ${on("guaranteed")} for guaranteed) in ${cases.length} cases on ${name}: ${wrong === 0 ? "all equal the interpreter, forward and gradients" : `${wrong} cases are wrong`}`);
console.log(`pairs visible ${share(all.seen, all.pairs)} of ${all.pairs}; queries that see nothing ${share(all.blind, all.queries)} of ${all.queries}; tiles empty ${share(all.empty, tiles)}, full ${share(all.full, tiles)}, mixed ${share(all.mixed, tiles)} of ${tiles}`);
exit(wrong === 0 ? 0 : 1);
