// Proofs about masks against trying: what is called sound is never contradicted by a sample of any lengths, and what is found is so.

import fc from "fast-check";
import { expect, test } from "vitest";
import { checkBatch } from "../../compiler/mask/check_batch.ts";
import { findingDiagnostics } from "../../compiler/mask/diagnostics.ts";
import { proveMasks } from "../../compiler/mask/proofs.ts";
import { cacheSoundness } from "../../compiler/mask/soundness.ts";
import type { Model } from "../../compiler/types/model.ts";
import type { Token } from "./brute_force.ts";
import { layOut, looksAhead, mistakes, seesOf } from "./brute_force.ts";
import { modelOf, randomParts } from "./random_models.ts";

const RUNS = Number(process.env["FUZZ_RUNS"] ?? 120);

const draw = fc.record({ a: fc.integer({ min: 0, max: 9 }), b: fc.integer({ min: 0, max: 5 }), drops: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }) });
const sampleOf = (m: Model, d: { a: number; b: number; drops: readonly boolean[] }): Token[] => {
  const [task] = m.tasks;
  if (!task) return [];
  return layOut(m, task, { a: d.a, b: d.b }, new Set(task.items.flatMap((x, i) => (d.drops[i] && x.kind !== "repeat" && x.kind !== "beside" && x.drop > 0 ? [i] : []))));
};

test("what is called sound is so on samples of any length", () => {
  let [sound, found, open] = [0, 0, 0];
  fc.assert(fc.property(randomParts, fc.array(draw, { minLength: 5, maxLength: 5 }), (parts, draws) => {
    const m = modelOf(parts);
    const [task] = m.tasks;
    if (!task) return;
    const proof = proveMasks(m);
    const known = new Set([...proof.findings.map((f) => (f.kind === "lone" ? `lone ${f.group}` : `${f.kind} ${f.item}`)), ...proof.open.map((o) => `${o.kind} ${o.at}`)]);
    found += proof.findings.length;
    open += proof.open.length;
    const cache = cacheSoundness(m).sound;
    if (known.size === 0) sound++;
    for (const d of draws) {
      const tokens = sampleOf(m, d);
      for (const x of mistakes(m, task, tokens)) expect(known, x).toContain(x);
      if (cache) expect(looksAhead(m, task, tokens)).toBe(false);
      for (const view of proof.views.steps) {
        const sees = seesOf(view.step.mask, tokens);
        for (const { group, heads } of view.parts) {
          if (known.has(`lone ${group}`)) continue;
          tokens.forEach((_, q) => expect(tokens.some((_t, k) => sees(q, k, heads[0] ?? 0))).toBe(true));
        }
      }
      for (const n of proof.never) {
        tokens.forEach((t, at) => {
          if (t.item !== n.item) return;
          const q = m.streams.find((s) => s.id === t.attributes["stream"])?.kind === "continuous" ? at : at - 1;
          for (const step of m.flow) for (const h of [0, 1]) if (q >= 0) expect(tokens.some((_t, k) => seesOf(step.mask, tokens)(q, k, h))).toBe(false);
        });
      }
    }
  }), { numRuns: RUNS });
  // Not vacuous: much is proven, much is found.
  expect(sound).toBeGreaterThan(RUNS / 20);
  expect(found).toBeGreaterThan(RUNS / 2);
  expect(open).toBeLessThan(RUNS * 2);
}, Math.max(60_000, RUNS * 200));

test("every witness holds: the way leads from the query to what it must not see, one visible pair after the other", () => {
  fc.assert(fc.property(randomParts, (parts) => {
    const m = modelOf(parts);
    const [task] = m.tasks;
    const { findings, views } = proveMasks(m);
    for (const f of findings) {
      const tokens: Token[] = Array.from({ length: f.sample.count }, (_, i) => ({ item: f.sample.item[i] ?? 0, attributes: Object.fromEntries(Object.entries(f.sample.columns).map(([n, c]) => [n, c[i] ?? 0])) }));
      if (f.kind === "lone") {
        const part = views.steps.flatMap((v) => v.parts.filter((p) => p.group === f.group).map((p) => ({ v, p })))[0];
        const sees = seesOf(part?.v.step.mask, tokens);
        expect(tokens.some((_, k) => sees(f.query, k, part?.p.heads[0] ?? 0))).toBe(false);
        continue;
      }
      let [at, above] = [f.query, m.flow.length];
      for (const hop of f.way) {
        expect(hop.from).toBe(at);
        expect(hop.step).toBeLessThan(above);
        const step = m.flow[hop.step];
        for (const h of hop.heads) expect(seesOf(step?.mask, tokens)(hop.from, hop.to, h)).toBe(true);
        [at, above] = [hop.to, hop.step];
      }
      expect(at).toBe(f.seen);
      // The sample is one that the task has, and the mistake is one there.
      const lengths = Object.fromEntries(["a", "b"].map((name) => [name, Math.max(0, ...(task?.items ?? []).map((x, i) => ("field" in x && x.field === name ? tokens.filter((t) => t.item === i).length : 0)))]));
      const dropped = new Set((task?.items ?? []).flatMap((x, i) => (!tokens.some((t) => t.item === i) && "drop" in x && x.drop > 0 ? [i] : [])));
      if (task) {
        const again = layOut(m, task, lengths, dropped);
        // An empty text that may be dropped looks like one that was; only its number of spans differs.
        if (again.every((t, i) => t.attributes["span"] === tokens[i]?.attributes["span"])) expect(again.map((t) => t.attributes)).toEqual(tokens.map((t) => ({ ...t.attributes })));
        expect(mistakes(m, task, tokens)).toContain(`${f.kind} ${f.item}`);
      }
    }
    expect(() => findingDiagnostics(m, views, findings)).not.toThrow();
  }), { numRuns: RUNS });
}, Math.max(60_000, RUNS * 200));

test("what stays open is found on the samples that show it, and nothing else is", () => {
  fc.assert(fc.property(randomParts, draw, (parts, d) => {
    const m = modelOf(parts);
    const [task] = m.tasks;
    const { open } = proveMasks(m);
    if (!task || open.length === 0) return;
    const tokens = sampleOf(m, d);
    const names = Object.keys(tokens[0]?.attributes ?? {});
    const columns: Record<string, Int32Array> = Object.fromEntries(names.map((n) => [n, Int32Array.from(tokens, (t) => t.attributes[n] ?? 0)]));
    columns["id"] = Int32Array.from(tokens, (t) => {
      const item = task.items[t.item];
      return item?.kind === "literal" ? (m.specials.find((s) => s.name === item.name)?.id ?? 0) : 1;
    });
    const segments = task.items.flatMap((x, i) => {
      const start = tokens.findIndex((t) => t.item === i);
      return "field" in x && start >= 0 ? [{ field: x.field, start, count: tokens.filter((t) => t.item === i).length }] : [];
    });
    const said = checkBatch(m, [{ task: task.name, count: tokens.length, columns, segments }]).map((x) => x.code);
    const real = mistakes(m, task, tokens);
    const codes = { leak: "E0321", copy: "E0322", noised: "W0605", ahead: "W0606", lone: "W0604" };
    const due = new Set(open.flatMap((o) => (o.kind !== "lone" && real.has(`${o.kind} ${o.at}`) ? [codes[o.kind]] : [])));
    if (due.has("E0321")) due.delete("W0606");
    expect(new Set(said.filter((c) => c !== "W0604"))).toEqual(due);
  }), { numRuns: RUNS });
}, Math.max(60_000, RUNS * 200));
