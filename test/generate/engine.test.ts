// The sampling state machine over a network that is a formula: text is spelled to its end, spans are restored by a solver, guidance
// drops the condition, and a cache changes nothing.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import { generate, type GenerateOptions } from "../../runtime/generate/engine.ts";
import type { FieldValue } from "../../runtime/sequence/layout.ts";
import { normalAt, uniformAt } from "../../runtime/random/philox.ts";
import { ID, item, picture, text, tinySpec } from "../sequence/tiny_spec.ts";
import { fakeRunner, type FakeNetwork, type SeenToken } from "./fake_runner.ts";

const options = (over: Partial<GenerateOptions> = {}): GenerateOptions => ({ seed: 1, random: { uniform: (r, i) => uniformAt(i, 1, 1, r), normal: (r, i) => normalAt(i, 2, 1, r) }, ...over });
const uncached = (spec: ModelSpec): ModelSpec => ({ ...spec, cache: { sound: false, reason: "the test says so" } });
const spelled = (v: FieldValue | undefined): string => (v?.kind === "ids" ? String.fromCharCode(...Array.from(v.ids)) : "?");
const numbers = (v: FieldValue | undefined): number[] => (v?.kind === "features" ? [...v.data] : []);

/** Logits that spell a word chosen by the first number of the picture in the row, then say <eos>. */
const WORDS = ["seven", "a handwritten nine", "0"];
const speller: FakeNetwork = {
  logits(row) {
    const from = row.findIndex((t) => t.attributes.id === ID.eoi);
    const word = WORDS[Math.round(row.find((t) => t.attributes.stream === 1)?.features[0] ?? 0)] ?? "";
    const next = word.charCodeAt(row.length - 1 - from);
    return Array.from({ length: 260 }, (_, i) => (i === (Number.isNaN(next) ? ID.eos : next) ? 5 : 0));
  },
};

describe("text", () => {
  const requests = WORDS.map((_, i) => ({ picture: picture(i) }));

  test("is spelled token by token until the literal that ends it", async () => {
    const runner = fakeRunner(tinySpec, speller);
    const made = await generate(tinySpec, runner, "describe", requests, options());
    expect(made.map((m) => spelled(m.caption))).toEqual(WORDS);
    expect(Object.keys(made[0] ?? {})).toEqual(["caption"]);
    // a prefill, then one token a step for as long as the longest takes
    expect(runner.calls.map((c) => c.t)).toEqual([7, ...Array(18).fill(1)]);
    // a row that is done feeds nothing, and where half are done and nothing follows, the others go on alone
    expect(runner.calls[3]?.fed.map((f) => f.length)).toEqual([1, 1, 0]);
    expect(runner.calls.at(-1)?.fed.map((f) => f.length)).toEqual([1]);
  });

  test("is the same without a cache: everything is fed again", async () => {
    const runner = fakeRunner(tinySpec, speller);
    const made = await generate(uncached(tinySpec), runner, "describe", requests, options());
    expect(made.map((m) => spelled(m.caption))).toEqual(WORDS);
    expect(runner.calls.every((c) => c.at === 0)).toBe(true);
  });

  test("stops at the limit", async () => {
    const runner = fakeRunner(tinySpec, speller);
    const [made] = await generate(tinySpec, runner, "describe", [{ picture: picture(1) }], options({ samplers: { text: { args: { max: 4 } } } }));
    expect(spelled(made?.caption)).toBe("a ha");
    expect(runner.calls.length).toBe(4);
    expect(spelled((await generate(tinySpec, fakeRunner(tinySpec, speller), "describe", [{ picture: picture(1) }], options({ maxTokens: 1 })))[0]?.caption)).toBe("a");
  });

  test("never picks a literal of another task", async () => {
    const network: FakeNetwork = { logits: () => Array.from({ length: 260 }, (_, i) => (i === ID.boi ? 9 : i === 65 ? 1 : 0)) };
    const [made] = await generate(tinySpec, fakeRunner(tinySpec, network), "describe", [{ picture: picture() }], options({ maxTokens: 3 }));
    expect(spelled(made?.caption)).toBe("AAA");
  });

  test("a batch of different lengths says what each request says alone, cached or not", async () => {
    // Logits by a hash of everything visible: any token too many, too few or misplaced changes the text.
    const hashed: FakeNetwork = {
      logits(row) {
        let h = 17;
        for (const t of row) for (const x of [t.attributes.id, t.attributes.pos, t.attributes.stream, t.attributes.span, Math.round((t.features[0] ?? 0) * 16)]) h = (Math.imul(h, 31) + (x ?? 0)) >>> 0;
        return Array.from({ length: 260 }, (_, i) => (i === ID.eos ? 6 * ((h >>> 4) % 5 === 0 ? 1 : 0) : Math.imul(h, i + 7) % 1000 / 500));
      },
    };
    // given text of any length before predicted text
    const spec: ModelSpec = { ...tinySpec, tasks: [{ name: "answer", id: 0, fields: [{ name: "question", stream: "text" }, { name: "reply", stream: "text" }], items: [
      { kind: "given", stream: "text", field: "question", attributes: {}, drop: 0, dropGroup: 0 },
      { kind: "literal", text: "<boi>", id: ID.boi, stream: 0, drop: 0, dropGroup: 0 },
      { kind: "predict", stream: "text", field: "reply", attributes: {}, drop: 0, dropGroup: 0 },
      { kind: "literal", text: "<eos>", id: ID.eos, stream: 0, drop: 0, dropGroup: 0 },
    ] }] };
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ maxLength: 9, unit: "grapheme-ascii" }), { minLength: 1, maxLength: 4 }), async (questions) => {
        const limit = options({ maxTokens: 12 });
        const together = await generate(spec, fakeRunner(spec, hashed), "answer", questions.map((q) => ({ question: text(q) })), limit);
        const again = await generate(uncached(spec), fakeRunner(spec, hashed), "answer", questions.map((q) => ({ question: text(q) })), limit);
        expect(again).toEqual(together);
        for (const [i, q] of questions.entries()) expect((await generate(spec, fakeRunner(spec, hashed), "answer", [{ question: text(q) }], limit))[0]).toEqual(together[i]);
      }),
      { numRuns: 25 },
    );
  });
});

describe("text at its borders", () => {
  const write: ModelSpec = { ...tinySpec, tasks: [{ name: "write", id: 0, fields: [{ name: "line", stream: "text" }], items: [item("predict", "text", "line")] }] };

  test("that nothing stands before begins with any token: no padding is asked for it", async () => {
    const runner = fakeRunner(write, { logits: (row) => Array.from({ length: 260 }, (_, i) => (i === 98 ? 9 : row.length === 0 ? Number.NaN : 0)) });
    const first = new Set<string>();
    for (const seed of [1, 2, 3]) {
      const [made] = await generate(write, runner, "write", [{}], { ...options({ maxTokens: 3, samplers: { text: { kind: "temperature", args: { temperature: 0.1 } } } }), random: { uniform: (r, i) => uniformAt(i, seed, 1, r), normal: () => 0 } });
      expect(spelled(made?.line).slice(1)).toBe("bb");
      first.add(spelled(made?.line).slice(0, 1));
    }
    expect(first.size).toBe(3);
    expect(runner.calls.every((c) => c.fed.every((f) => f.length === 1))).toBe(true);
  });

  test("ends where the table of positions does, with room for what follows", async () => {
    const bounded = { ...tinySpec, maxTokens: 12 };
    const runner = fakeRunner(bounded, speller);
    // <bos> <boi> four patches <eoi>, four tokens, <eos>
    expect(spelled((await generate(bounded, runner, "describe", [{ picture: picture(1) }], options()))[0]?.caption)).toBe("a ha");
    await expect(generate({ ...tinySpec, maxTokens: 6 }, fakeRunner(tinySpec, speller), "describe", [{ picture: picture(1) }], options())).rejects.toMatchObject({ code: "E0566" });
  });
});

/** The exact velocity of data that is one picture, always `target`: v = (x - target) / level. */
const toTarget = (target: (row: readonly SeenToken[]) => number): FakeNetwork => ({
  denoise: (t, row) => t.features.map((x) => (x - target(row)) / t.level),
});
const hasCaption = (row: readonly SeenToken[]): boolean => row.some((t) => (t.attributes.id ?? 0) > 0 && (t.attributes.id ?? 0) < 256);

describe("continuous spans", () => {
  test("are restored all at once, behind the committed prefix", async () => {
    const runner = fakeRunner(tinySpec, toTarget((row) => row.filter((t) => (t.attributes.id ?? 0) === 97).length));
    const made = await generate(tinySpec, runner, "draw", [{ caption: text("a") }, { caption: text("aaa") }], options());
    expect(numbers(made[0]?.picture).every((x) => Math.abs(x - 1) < 1e-5)).toBe(true);
    expect(numbers(made[1]?.picture).every((x) => Math.abs(x - 3) < 1e-5)).toBe(true);
    expect(runner.calls.map((c) => `${c.program} ${c.t}`)).toEqual(["step 5", ...Array(8).fill("denoise 4")]);
    expect(runner.calls[1]?.fed[0]?.map((t) => t.level)).toEqual([1, 1, 1, 1]);
    // the span carries the places that training gives it
    expect(runner.calls[1]?.fed[0]?.map((t) => [t.attributes.row, t.attributes.col, t.attributes.role])).toEqual([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]);
  });

  test("are the same without a cache", async () => {
    const network = toTarget((row) => row.length);
    const request = [{ caption: text("abc") }, { caption: text("z") }];
    const cached = await generate(tinySpec, fakeRunner(tinySpec, network), "draw", request, options());
    const runner = fakeRunner(tinySpec, network);
    expect(await generate(uncached(tinySpec), runner, "draw", request, options())).toEqual(cached);
    expect(runner.calls.every((c) => c.program === "denoise" && c.at === 0)).toBe(true);
  });

  test("start from the request's own noise, whatever else is in the batch", async () => {
    const still: FakeNetwork = { denoise: (t) => t.features.map(() => 0) };
    const [alone] = await generate(tinySpec, fakeRunner(tinySpec, still), "draw", [{ caption: text("a") }], options());
    const many = await generate(tinySpec, fakeRunner(tinySpec, still), "draw", [{ caption: text("a") }, { caption: text("bcd") }], options());
    expect(many[0]).toEqual(alone);
    expect(many[1]).not.toEqual(alone);
    expect(numbers(alone?.picture)).toEqual(Array.from({ length: 16 }, (_, i) => Math.fround(normalAt(i, 2, 1, 0))));
  });

  test("of one task start from noise of their own", async () => {
    const fields = ["x", "y"].map((name) => ({ name, stream: "image" }));
    const pair: ModelSpec = { ...tinySpec, tasks: [{ name: "pair", id: 0, fields, items: fields.map((f) => item("predict", "image", f.name)) }] };
    const [made] = await generate(pair, fakeRunner(pair, { denoise: (t) => t.features.map(() => 0) }), "pair", [{}], options());
    expect(numbers(made?.x)).toEqual(Array.from({ length: 16 }, (_, i) => Math.fround(normalAt(i, 2, 1, 0))));
    expect(numbers(made?.x).some((v) => numbers(made?.y).includes(v))).toBe(false);
  });

  test("are guided by a second row without the condition", async () => {
    const network = toTarget((row) => (hasCaption(row) ? 1 : -1));
    const runner = fakeRunner(tinySpec, network);
    const guided = { samplers: { image: { args: { guidance: 3, steps: 4 } } } };
    const [made] = await generate(tinySpec, runner, "draw", [{ caption: text("one") }], options(guided));
    // free + 3 (cond - free) points at -1 + 3 * 2 = 5
    expect(numbers(made?.picture).every((x) => Math.abs(x - 5) < 1e-4)).toBe(true);
    expect(runner.calls.every((c) => c.rows === 2)).toBe(true);
    expect(runner.calls[0]?.fed.map((f) => f.length)).toEqual([5, 2]);
    const [whole] = await generate(uncached(tinySpec), fakeRunner(tinySpec, network), "draw", [{ caption: text("one") }], options(guided));
    numbers(whole?.picture).forEach((x, i) => expect(x).toBeCloseTo(numbers(made?.picture)[i] ?? 0, 5));
  });

  test("cost no second row where guidance is 1 or nothing may be dropped", async () => {
    const runner = fakeRunner(tinySpec, toTarget(() => 0));
    await generate(tinySpec, runner, "draw", [{ caption: text("x") }], options());
    expect(runner.calls.every((c) => c.rows === 1)).toBe(true);
    const both = fakeRunner(tinySpec, { ...toTarget(() => 0), ...speller });
    await generate(tinySpec, both, "both", [{}], options({ samplers: { image: { args: { guidance: 3 } } } }));
    expect(both.calls.every((c) => c.rows === 1)).toBe(true);
  });

  test("are committed clean before what follows is generated", async () => {
    const network: FakeNetwork = { ...toTarget(() => 1), ...speller };
    for (const spec of [tinySpec, uncached(tinySpec)]) {
      const runner = fakeRunner(spec, network);
      const [made] = await generate(spec, runner, "both", [{}], options());
      expect(numbers(made?.picture).every((x) => Math.abs(x - 1) < 1e-5)).toBe(true);
      expect(spelled(made?.caption)).toBe(WORDS[1]);
      const committed = runner.calls.filter((c) => c.program === "step").flatMap((c) => c.fed[0] ?? []).filter((t) => t.attributes.stream === 1);
      expect(committed.slice(0, 4).every((t) => t.level === 0 && Math.abs((t.features[0] ?? 0) - 1) < 1e-5)).toBe(true);
    }
  });
});

describe("refusals", () => {
  const run = (task: string, fields: Record<string, FieldValue>, over: Partial<GenerateOptions> = {}, spec = tinySpec) => generate(spec, fakeRunner(spec, { ...toTarget(() => 0), ...speller }), task, [fields], options(over));

  test("an unknown task, a missing field, a sampler that does not fit", async () => {
    await expect(run("paint", {})).rejects.toMatchObject({ code: "E0560" });
    await expect(run("describe", {})).rejects.toMatchObject({ code: "E0561" });
    await expect(run("describe", { picture: picture() }, { samplers: { text: { kind: "ddim" } } })).rejects.toMatchObject({ code: "E0563" });
    await expect(run("draw", { caption: text("a") }, { samplers: { image: { kind: "nucleus" } } })).rejects.toMatchObject({ code: "E0563" });
    await expect(run("draw", { caption: text("a") }, {}, { ...tinySpec, processes: [] })).rejects.toMatchObject({ code: "E0563" });
    await expect(run("draw", { caption: text("a") }, {}, { ...tinySpec, samplers: [] })).rejects.toMatchObject({ code: "E0563" });
  });

  test("numbers that are none", async () => {
    const nan: FakeNetwork = { logits: () => Array(260).fill(Number.NaN), denoise: (t) => t.features.map(() => Number.NaN) };
    await expect(generate(tinySpec, fakeRunner(tinySpec, nan), "describe", [{ picture: picture() }], options())).rejects.toMatchObject({ code: "E0565" });
    await expect(generate(tinySpec, fakeRunner(tinySpec, nan), "draw", [{ caption: text("a") }], options())).rejects.toMatchObject({ code: "E0565" });
  });

  test("a run that is called off ends at the next step", async () => {
    const stop = new AbortController();
    const runner = fakeRunner(tinySpec, speller);
    const done = generate(tinySpec, runner, "describe", [{ picture: picture(1) }], options({ signal: stop.signal, progress: (_, step) => void (step === 3 && stop.abort()) }));
    await expect(done).rejects.toThrow(/abort/i);
    expect(runner.calls.length).toBe(3);
  });
});
