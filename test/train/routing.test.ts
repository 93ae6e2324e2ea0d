// Numbers about routed layers: what counts mean, over micro-batches too, and what the line of progress says.

import { describe, expect, test } from "vitest";
import type { ModelSpec, RouterSpec } from "../../compiler/plan/manifest.ts";
import type { Machine } from "../../runtime/exec/machine.ts";
import { packSequences } from "../../runtime/sequence/batch.ts";
import { layoutSample } from "../../runtime/sequence/layout.ts";
import { type Metrics, type TrainingData, trainLoop } from "../../runtime/train/loop.ts";
import { addCounts, routingMetrics, routingSummary, termsByName } from "../../runtime/train/routing.ts";
import { picture, text, tinySpec } from "../sequence/tiny_spec.ts";

const router = (path: string, experts: number, offset: number, over: Partial<RouterSpec> = {}): RouterSpec =>
  ({ path, route: "r", learned: true, experts, branches: [], offset, losses: [{ name: "load_balance", output: `loss.${path}.load_balance` }], ...over });

describe("routingMetrics", () => {
  test("an even load, a load of one expert, no rows at all", () => {
    const routers = [router("a", 4, 0), router("b", 4, 5), router("c", 2, 10)];
    const [even, one, none] = routingMetrics(routers, [3, 3, 3, 3, 12, 0, 8, 0, 0, 8, 0, 0, 0]);
    expect(even).toMatchObject({ path: "a", load: [3, 3, 3, 3], max_over_mean: 1, dropped: 0 });
    expect(even?.entropy).toBeCloseTo(Math.log(4), 12);
    expect(even?.evenness).toBeCloseTo(1, 12);
    expect(one).toMatchObject({ load: [0, 8, 0, 0], max_over_mean: 4, entropy: 0, evenness: 0, dropped: 0 });
    expect(none).toMatchObject({ load: [0, 0], max_over_mean: 0, entropy: 0, dropped: 0 });
  });

  test("what capacity dropped, and terms by layer and over layers", () => {
    const routers = [router("a", 2, 0), router("b", 2, 3)];
    const terms = { "loss.a.load_balance": 0.5, "loss.b.load_balance": 0.25 };
    const found = routingMetrics(routers, [2, 1, 4, 6, 2, 8], terms);
    expect(found.map((m) => [m.dropped, m.max_over_mean, m.losses])).toEqual([[0.25, 4 / 3, { load_balance: 0.5 }], [0, 1.5, { load_balance: 0.25 }]]);
    expect(termsByName(routers, terms)).toEqual({ load_balance: 0.75 });
    expect(routingSummary(routers, found)).toBe("load 1.50x  dropped 12.5%");
  });

  test("routes are counted, and the line of progress is about what is learned", () => {
    const routers = [router("a", 2, 0, { learned: false, branches: ["understand", "generate"], losses: [] })];
    const found = routingMetrics(routers, [6, 2, 8]);
    expect(found).toEqual([{ path: "a", load: [6, 2], max_over_mean: 1.5, entropy: expect.closeTo(0.5623, 3) as number, evenness: expect.closeTo(0.811, 3) as number, dropped: 0 }]);
    expect(routingSummary(routers, found)).toBe("");
  });

  test("counts of micro-batches add up", () => {
    const sum: number[] = [];
    addCounts(sum, Int32Array.of(1, 2, 3));
    addCounts(sum, Int32Array.of(4, 0, 4));
    expect(sum).toEqual([5, 2, 7]);
  });
});

test("a step reports where the rows of all its micro-batches went, and its terms once", async () => {
  const spec: ModelSpec = { ...tinySpec, routers: [router("body[0].ffn", 2, 0), router("body[1].ffn", 2, 3)] };
  const data: TrainingData = { count: 3, value: (index, stream) => (stream === "text" ? text("ab") : picture(index)) };
  let submits = 0;
  const machine = {
    spec,
    allocateTraining: () => {},
    bind: (program: string, lengths: object) => Promise.resolve({ program: { plan: { inputs: program === "grad" ? { share: 0 } : {} } }, lengths, layout: {}, write: (v: { share?: Float32Array }) => void (v.share && shares.push(v.share[0] ?? 0)) }),
    submit: (_: unknown, wanted: string[]) => {
      submits++;
      return Promise.resolve(Object.fromEntries(wanted.map((n) => [n, n === "routing" ? Int32Array.of(submits, 1, submits + 1, 2, 2, 4) : Float32Array.of(n.includes("load_balance") ? 0.25 : 1)])));
    },
  };
  const shares: number[] = [];
  const seen: Metrics[] = [];
  const train = { ...spec.train, steps: 1, accumulate: 2 };
  await trainLoop(machine as unknown as Machine, { train, data, from: 0 }, { onStep: (m) => void seen.push(m), shouldSave: () => false, save: () => Promise.resolve(), now: () => 0 });
  expect(submits).toBe(2);
  expect(shares).toEqual([0.5, 0.5]);
  expect(seen[0]?.routing?.map((r) => r.load)).toEqual([[3, 2], [4, 4]]);
  expect(seen[0]?.routing?.[0]?.losses).toEqual({ load_balance: 0.5 });
  expect(seen[0]?.terms).toMatchObject({ load_balance: 1, next_token_text: 2 });
});

test("a row holds one sequence where a router chooses among all its tokens", () => {
  const some = ["a", "bb"].map((t) => layoutSample(tinySpec, "describe", { caption: text(t), picture: picture() }));
  expect(packSequences(tinySpec, some, { pack: true, tokens: 40 }).rows).toBe(1);
  expect(packSequences({ ...tinySpec, coupled: "router `r` chooses" }, some, { pack: true, tokens: 40 }).rows).toBe(2);
});
