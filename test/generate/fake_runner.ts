// A StepRunner without a GPU. It keeps what was fed as a cache would, and holds the engine to the contract of the step programs:
// keys before `at` are what was committed, keys from `at` on are what is fed now, everything else is padding.
// What a "network" says is a function of the visible tokens of a row in order of position.

import { expect } from "vitest";
import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import type { StepRunner } from "../../runtime/generate/engine.ts";
import type { HostArray } from "../../runtime/exec/states.ts";
import { attributesOf, paddingOf } from "../../runtime/sequence/layout.ts";

export interface SeenToken {
  readonly attributes: Readonly<Record<string, number>>;
  readonly features: readonly number[];
  readonly level: number;
}

export interface FakeNetwork {
  /** Logits after the last token that a row feeds. */
  logits?(row: readonly SeenToken[]): number[];
  /** Output for one token, [features], given the row it stands in. */
  denoise?(token: SeenToken, row: readonly SeenToken[]): number[];
}

export interface Call {
  readonly program: string;
  readonly rows: number;
  readonly t: number;
  readonly at: number;
  /** Tokens that carry content, by row. */
  readonly fed: readonly (readonly SeenToken[])[];
}

export function fakeRunner(model: ModelSpec, network: FakeNetwork): StepRunner & { readonly calls: Call[] } {
  const calls: Call[] = [];
  const names = attributesOf(model);
  const image = model.streams.find((s) => s.kind === "patches");
  const width = image?.kind === "patches" ? image.features : 0;
  let rows = 0;
  let slots = 0;
  let cache: (SeenToken | undefined)[][] = [];
  return {
    calls,
    begin(r, s) {
      rows = r;
      slots = s;
      cache = Array.from({ length: r }, () => []);
    },
    beside: () => Promise.resolve(),
    keep(kept) {
      expect(kept.every((r, i) => r < rows && r > (kept[i - 1] ?? -1)), "rows ascend").toBe(true);
      cache = kept.map((r) => cache[r] ?? []);
      rows = kept.length;
    },
    run(program, table, extra, wanted) {
      const { batch = 0, t = 0, s = 0 } = table.lengths;
      const at = extra.at?.[0] ?? -1;
      expect(batch).toBe(rows);
      expect(s % 16).toBe(0);
      expect(s).toBeLessThanOrEqual(slots);
      expect(at + t, "the cache is large enough").toBeLessThanOrEqual(slots);
      const column = (name: string, i: number): number => (extra[`tok.${name}`] as Int32Array)[i] ?? Number.NaN;
      const key = (name: string, i: number): number => (extra[`key.${name}`] as Int32Array)[i] ?? Number.NaN;
      const level = extra[`${model.processes[0]?.name ?? ""}.level`];
      const clean = image ? extra[`${image.name}.clean`] : undefined;
      const fed: SeenToken[][] = [];
      const seen: SeenToken[][] = [];
      for (let r = 0; r < batch; r++) {
        const now: (SeenToken | undefined)[] = Array.from({ length: t }, (_, i) => {
          if (column("doc", r * t + i) === -1) return undefined;
          return {
            attributes: Object.fromEntries(names.map((n) => [n, column(n, r * t + i)])),
            features: Array.from(clean?.subarray((r * t + i) * width, (r * t + i + 1) * width) ?? []),
            level: level?.[r * t + i] ?? 0,
          };
        });
        const before = Array.from({ length: at }, (_, i) => cache[r]?.[i]);
        const all = [...before, ...now];
        for (let i = 0; i < s; i++) for (const n of names) expect(key(n, r * s + i), `key.${n} of row ${r}, slot ${i}`).toBe(all[i]?.attributes[n] ?? paddingOf(n));
        const there = all.filter((x): x is SeenToken => x !== undefined).sort((a, b) => (a.attributes.pos ?? 0) - (b.attributes.pos ?? 0));
        expect(there.map((x) => x.attributes.pos), "positions are 0, 1, 2 …").toEqual(there.map((_, i) => i));
        seen.push(there);
        fed.push(now.filter((x): x is SeenToken => x !== undefined));
        // Padding stands after content.
        expect(now.slice(0, fed[r]?.length ?? 0).includes(undefined)).toBe(false);
        if (program === "step") cache[r] = all;
      }
      calls.push({ program, rows: batch, t, at, fed });
      const out: Record<string, HostArray> = {};
      for (const name of wanted) {
        if (name.endsWith(".logits")) {
          const each = seen.map((row) => network.logits?.(row) ?? []);
          const pick = extra.pick as Int32Array;
          fed.forEach((f, r) => expect(pick[r]).toBe(Math.max(0, f.length - 1)));
          out[name] = Float32Array.from(each.flat());
        } else {
          out[name] = Float32Array.from({ length: batch * t * width });
          fed.forEach((tokens, r) => tokens.forEach((x, i) => (out[name] as Float32Array).set(x.attributes.stream === image?.id ? (network.denoise?.(x, seen[r] ?? []) ?? []) : Array(width).fill(Number.NaN), (r * t + i) * width)));
        }
      }
      return Promise.resolve(out);
    },
  };
}
