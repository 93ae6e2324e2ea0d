// What a report of routing counts, against counting by hand, and how a program's outputs are read.

import { describe, expect, test } from "vitest";
import { choicesOf, entropyOf, routingReport } from "../../compiler/routing/report.ts";
import { madeUp, random, route, router, tokens } from "./made_up.ts";

describe("rows of a program", () => {
  test("are the token's, whatever axes follow, and rows that are nowhere are left out", () => {
    const draw = random(3);
    const [batch, length, choice, nested] = [3, 5, 2, 4];
    const at = (b: number, t: number, c: number, n: number): number => ((b * length + t) * choice + c) * nested + n;
    const expert = Int32Array.from({ length: batch * length * choice * nested }, () => Math.floor(draw() * 7) - 2);
    const weight = Float32Array.from(expert, () => draw());
    for (let b = 0; b < batch; b++) {
      const read = choicesOf({ batch, tokens: length, expert, weight }, b, 4);
      expect(read.length).toBe(4);
      read.forEach((chosen, t) => {
        const wanted: { expert: number; weight: number }[] = [];
        for (let c = 0; c < choice; c++) for (let n = 0; n < nested; n++) {
          const e = expert[at(b, t, c, n)] ?? -1;
          if (e >= 0) wanted.push({ expert: e, weight: weight[at(b, t, c, n)] ?? 0 });
        }
        expect(chosen).toEqual(wanted);
      });
    }
  });

  test("without weights count whole", () => {
    expect(choicesOf({ batch: 1, tokens: 3, expert: [1, -1, 0] }, 0, 3)).toEqual([[{ expert: 1, weight: 1 }], [], [{ expert: 0, weight: 1 }]]);
  });

  test("of soft mixtures are every expert's share", () => {
    const share = [0.1, 0.9, 0.4, 0.6, 0.5, 0.5, 0, 1];
    expect(choicesOf({ batch: 2, tokens: 2, expert: [1, 1, 0, 1], share }, 1, 2)).toEqual([[{ expert: 0, weight: 0.5 }, { expert: 1, weight: 0.5 }], [{ expert: 0, weight: 0 }, { expert: 1, weight: 1 }]]);
  });
});

describe("loads", () => {
  test("are rows by expert and stream over all samples", () => {
    const { report, samples } = madeUp([router("body[0].ffn", 8), route("body[1].attn", ["understand", "generate"])], 9, 3, 5);
    report.layers.forEach((l, i) => {
      for (let e = 0; e < l.experts.length; e++) {
        let [n, w] = [0, 0];
        const by: Record<string, number> = {};
        for (const s of samples) s.choices[i]?.forEach((chosen, t) => {
          for (const c of chosen) if (c.expert === e) {
            n++;
            w += c.weight;
            const stream = s.tokens[t]?.stream ?? "";
            by[stream] = (by[stream] ?? 0) + 1;
          }
        });
        expect(l.load[e]).toBe(n);
        expect(l.weight[e]).toBeCloseTo(w, 9);
        for (const [stream, own] of Object.entries(l.loadByStream)) expect(own[e]).toBe(by[stream] ?? 0);
      }
      const rows = l.load.reduce((a, b) => a + b, 0);
      expect(l.rows).toBe(rows);
      expect(l.maxOverMean).toBeCloseTo(Math.max(...l.load) / (rows / l.experts.length), 12);
      expect([l.tokens, l.nowhere]).toEqual([5 * 20, 0]);
    });
    expect(report.layers.map((l) => l.experts)).toEqual([["0", "1", "2", "3", "4", "5", "6", "7"], ["understand", "generate"]]);
  });

  test("are as even as their entropy says", () => {
    expect(entropyOf([5, 5, 5, 5])).toEqual({ entropy: Math.log(4), evenness: 1 });
    expect(entropyOf([7, 0, 0])).toEqual({ entropy: 0, evenness: 0 });
    expect(entropyOf([1, 1, 0, 0]).evenness).toBeCloseTo(0.5, 12);
    expect(entropyOf([0, 0])).toEqual({ entropy: 0, evenness: 0 });
    expect(entropyOf([3])).toEqual({ entropy: 0, evenness: 1 });
  });

  test("name experts and tokens that nothing comes to", () => {
    const all = tokens(2, 1);
    const layer = router("ffn", 4, { choices: 1 });
    const choices = [[{ expert: 2, weight: 1 }], [], [{ expert: 2, weight: 1 }], [{ expert: 0, weight: 1 }], []];
    const [l] = routingReport("m", [{ index: 3, layer }], [{ task: "t", tokens: all, levels: {}, choices: [choices] }], { weights: { kind: "none" }, data: { kind: "example" } }).layers;
    expect(l).toMatchObject({ index: 3, load: [1, 0, 2, 0], idle: 2, tokens: 3, nowhere: 2, rows: 3, dropped: null });
  });

  test("above the capacity would be dropped, those of later tokens", () => {
    const { report, samples } = madeUp([router("ffn", 4, { capacity: 1.1 })], 17, 2, 2, 11);
    const rows = samples.flatMap((s) => s.choices[0]?.flat() ?? []);
    const most = Math.ceil((1.1 * rows.length) / 4);
    const taken = [0, 0, 0, 0];
    let dropped = 0;
    for (const { expert } of rows) {
      if ((taken[expert] ?? 0) < most) taken[expert] = (taken[expert] ?? 0) + 1;
      else dropped++;
    }
    expect(report.layers[0]?.dropped).toBeCloseTo(dropped / rows.length, 12);
  });
});

test("a token's experts stand heaviest first", () => {
  const { report } = madeUp([router("ffn", 6, { choices: 3 })], 5, 2);
  for (const chosen of report.samples[0]?.layers[0]?.choices ?? []) {
    expect(chosen.length).toBe(3);
    expect(chosen.map((c) => c.weight)).toEqual(chosen.map((c) => c.weight).sort((a, b) => b - a));
  }
});
