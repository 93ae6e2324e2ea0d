// Bytes of attention forward and backward on a long row: q, k and v are states that move against their gradients, so that
// everything a step of training holds is there and nothing else. In: tokens, a mask. Out: a report on standard output; exit code.

import { problemOf } from "./problem.mjs";

const mib = (/** @type {number} */ bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;

/** @param {{ tokens: number, mask: string, run: boolean }} options @returns {Promise<number>} exit code */
export async function memory(heddle, { tokens, mask, run }) {
  const { HEADS, WIDTH, masks } = heddle;
  const { title, expr } = masks[mask];
  const target = heddle.targetOf(await heddle.describeNodeAdapter());
  const states = heddle.stepStates(tokens);
  const plan = heddle.planOf(heddle.stepGraph(expr, 1), target, states);
  const lengths = { t: tokens, s: tokens };
  const { peakBytes, stateBytes, tempBytes, inputBytes } = heddle.layoutPlan(plan, lengths);
  console.log(`${tokens} tokens, ${HEADS} heads of ${WIDTH}, ${title}, target ${target.name}: forward, backward, and the step they are for`);
  console.log(`planned: ${mib(peakBytes + stateBytes)} = ${mib(stateBytes)} q, k, v + ${mib(inputBytes)} given + ${mib(tempBytes)} between; logits would be ${mib(4 * HEADS * tokens * tokens)}`);
  if (!run) return 0;
  const host = await heddle.openNodeDevice({ trusted: plan.modules.every((m) => m.proven) });
  const [store, pool, stager] = [new heddle.StateStore(host), new heddle.ArenaPool(host), new heddle.Stager(host)];
  store.allocate(states);
  const size = tokens * HEADS * WIDTH;
  const given = Object.fromEntries(["q", "k", "v", "dout"].map((n, i) => [n, heddle.numbers(size, i + 1)]));
  for (const n of ["q", "k", "v"]) store.write(n, given[n]);
  const program = await heddle.LoadedProgram.load(plan, store, pool, new heddle.PipelineCache(host));
  const bound = program.bind(lengths);
  const columns = heddle.columnsOf(masks[mask], tokens);
  const attributes = Object.fromEntries([["q", columns.query], ["k", columns.key]].flatMap(([side, values]) => Object.entries(values).map(([n, x]) => [`${side}.${n}`, x])));
  bound.write({ dout: given.dout, ...attributes });
  const started = performance.now();
  await heddle.runPrograms(host, stager, [bound], []);
  await host.settle(host.device.queue.onSubmittedWorkDone());
  host.check();
  const took = (performance.now() - started) / 1000;
  console.log(`allocated on ${host.info.name}: ${mib(pool.bytes + store.bytes)}, ${bound.dispatches} dispatches, ${took.toFixed(1)} s`);
  // q + dq, so that a wrong step shows: some rows of dq against double precision.
  const moved = await store.read("q");
  const dq = Float32Array.from(moved, (x, i) => given.q[i] - x);
  const error = heddle.judge(problemOf(heddle, mask, tokens), { dq });
  console.log(`dq of some queries against double precision: off by ${error.toExponential(1)}`);
  await host.destroy();
  return error < 1e-3 ? 0 : 1;
}
