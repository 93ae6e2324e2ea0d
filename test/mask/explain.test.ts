// `explain mask`: the report against definitions written here and against the runtime's own layout, its counts, and its drawings.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { decode } from "fast-png";
import { describe, expect, test } from "vitest";
import { reportPng } from "../../cli/show/mask_png.ts";
import { layoutParameters, modelSpec } from "../../compiler/lower/model_spec.ts";
import { tileTokens } from "../../compiler/kernel/attention_ranges.ts";
import { guaranteed } from "../../compiler/kernel/kernel.ts";
import { besideOf, exampleLength, exampleOf } from "../../compiler/mask/example.ts";
import { KERNEL_TILE, maskReport } from "../../compiler/mask/explain.ts";
import type { MaskPicture, MaskReport, PictureToken } from "../../compiler/mask/explain.ts";
import { keysOf, ranges, share } from "../../compiler/mask/spans.ts";
import { reportSvg } from "../../compiler/mask/svg.ts";
import { reportText } from "../../compiler/mask/text.ts";
import { withMask } from "../../compiler/mask/with_mask.ts";
import { askedMask } from "../../compiler/types/asked_mask.ts";
import type { Model } from "../../compiler/types/model.ts";
import { makeSource } from "../../grammar/source.ts";
import { packSequences } from "../../runtime/sequence/batch.ts";
import { attributesOf, layoutSample } from "../../runtime/sequence/layout.ts";
import type { FieldValue } from "../../runtime/sequence/layout.ts";
import { check, root } from "../types/loader.ts";

const spec = (mask: string, extra = ""): string => `use std.blocks { decoder_block }
model m(d: axis = 8, heads: int = 2) {
  tokens text  = bytes()
  tokens image = patches(4, of: pixels(12, 16, channels: 1))
  process noising on image = flow()
  attribute turn: int = 0
  attribute half: int = token.index / 2
  task draw(caption: text, picture: image) = <bos> given text(caption, turn: 1) <boi> predict image(picture, turn: 2) <eoi>
  task describe(picture: image, caption: text) = <bos> given image(picture) predict text(caption, turn: 3) <eos>
  ${extra}
  mask = ${mask}
  embed image = linear(image.features, d) + time(noising, d)
  body = stack(3) decoder_block(d, heads, mask)
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text = greedy()
  sample image = euler(steps: 4)
}`;

function modelOf(text: string): Model {
  const r = check(text);
  const [m] = r.models;
  if (!m) throw new Error(r.diagnostics.map((d) => d.message).join("\n"));
  return m;
}

const usual = modelOf(spec("causal | within(image)"));
const byHead = modelOf(spec("mine", "mask mine(q, k) = k.pos <= q.pos & (head == 0 | q.pos - k.pos < 3) & (layer < 2 | k.turn == q.turn | k.pos == q.pos)"));
const pictures = (r: MaskReport): MaskPicture[] => r.tasks.flatMap((t) => [...t.pictures]);

/** What a picture shows, asked of a definition. */
function expectDefined(p: MaskPicture, sees: (q: Readonly<Record<string, number>>, k: Readonly<Record<string, number>>) => boolean): void {
  expect(p.visible).toEqual(p.tokens.map((q) => keysOf(p).map((k) => (q.attributes["doc"] === k.attributes["doc"] && (k.attributes["doc"] ?? 0) >= 0 && sees(q.attributes, k.attributes) ? "1" : "0")).join("")));
}

describe("the report", () => {
  test("is the mask, asked of every pair", () => {
    for (const p of pictures(maskReport(usual, { text: 5, documents: 2, padding: 3, patches: 100 }))) {
      expectDefined(p, (q, k) => (k["pos"] ?? 0) <= (q["pos"] ?? 0) || (q["stream"] === 1 && k["stream"] === 1 && q["span"] === k["span"]));
      expect(p).toMatchObject({ layers: [0, 1, 2], heads: "all", mask: "causal | within(image)", queries: null, keys: null, keyTokens: null, cropped: [], scores: [] });
      expect(p.reads).toEqual(["doc", "pos", "span", "stream"]);
    }
  });

  test("lays tokens out as the runtime does, packed and padded", () => {
    const ms = modelSpec(usual, layoutParameters(usual), { sound: true });
    const length = 5;
    const values: Record<string, FieldValue> = { caption: { kind: "ids", ids: new Int32Array(length) }, picture: { kind: "features", data: new Float32Array(12 * 16) } };
    for (const task of usual.tasks) {
      const one = layoutSample(ms, task.name, values);
      const options = { text: length, patches: 12, documents: 3, padding: 4 };
      const tokens = exampleOf(usual, task, options);
      const table = packSequences(ms, [one, one, one], { pack: true, tokens: 3 * one.count + 4 });
      expect(table.rows).toBe(1);
      expect(tokens.length).toBe(table.tokens);
      expect(exampleLength(usual, task, options)).toBe(table.tokens);
      for (const name of attributesOf(ms)) {
        if (name === "id") continue;
        expect(tokens.map((t) => t.attributes[name]), name).toEqual([...(table.columns[name] ?? [])]);
      }
      expect(tokens.map((t) => t.attributes["half"])).toEqual(tokens.map((t) => (t.item < 0 ? 0 : Math.trunc((t.attributes["index"] ?? 0) / 2))));
    }
  });

  test("has every head of every layer in one picture, and those of its own mask", () => {
    for (const t of maskReport(byHead).tasks) {
      const seen = t.pictures.flatMap((p) => p.layers.flatMap((l) => (p.heads === "all" ? [0, 1] : p.heads).map((h) => `${l}.${h}`)));
      expect(seen.sort()).toEqual(["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]);
      expect(t.pictures.length).toBe(4);
      for (const p of t.pictures) {
        const [layer, head] = [p.layers[0] ?? 0, p.heads === "all" ? -1 : (p.heads[0] ?? -1)];
        expectDefined(p, (q, k) => (k["pos"] ?? 0) <= (q["pos"] ?? 0) && (head === 0 || (q["pos"] ?? 0) - (k["pos"] ?? 0) < 3) && (layer < 2 || k["turn"] === q["turn"] || k["pos"] === q["pos"]));
      }
    }
    const one = maskReport(byHead, { task: "draw", layer: 2, head: 1 });
    expect(one.tasks.map((t) => t.task)).toEqual(["draw"]);
    expect(pictures(one).map((p) => [p.layers, p.heads])).toEqual([[[2], [1]]]);
  });

  test("names tokens, and says what it leaves of an image", () => {
    const [p] = pictures(maskReport(usual, { task: "draw", text: 2, patches: 4 }));
    expect(p?.tokens.map((t) => t.label)).toEqual(["<bos>", "caption[0]", "caption[1]", "<boi>", "picture[0,0]", "picture[0,1]", "picture[1,0]", "picture[1,1]", "<eoi>"]);
    expect(p?.tokens.map((t) => `${t.field ?? "-"} ${t.stream ?? "-"} ${t.role}`)).toEqual(["- text literal", "caption text given", "caption text given", "- text literal", ...Array.from({ length: 4 }, () => "picture image predict"), "- text literal"]);
    expect(p?.cropped).toEqual([{ field: "picture", rows: 2, cols: 2, of: { rows: 3, cols: 4 } }]);
    expect(JSON.parse(JSON.stringify(p))).toEqual(p);
  });

  test("draws attention to a row beside the sequence, and within it", () => {
    const model = modelOf(readFileSync(join(root, "examples/captioner/captioner.heddle"), "utf8").replaceAll("28, 28", "14, 14"));
    const r = maskReport(model, { text: 3, documents: 2, patches: 16 });
    expect(pictures(r).map((p) => [p.queries, p.keys])).toEqual([[null, null], ["image", "image"], [null, "image"]]);
    const [, own, cross] = pictures(r);
    if (!own || !cross) throw new Error("three pictures");
    expect([own.visible.length, own.visible[0]?.length, cross.visible.length, cross.visible[0]?.length]).toEqual([8, 8, 10, 8]);
    for (const p of [own, cross]) expectDefined(p, () => true);
    const ms = modelSpec(model, layoutParameters(model), { sound: true });
    const sample = layoutSample(ms, "describe", { picture: { kind: "features", data: new Float32Array(196) }, caption: { kind: "ids", ids: [1, 2, 3] } });
    const table = packSequences(ms, [sample, sample], { pack: true, tokens: 2 * sample.count });
    const [task] = model.tasks;
    const stream = model.streams.find((s) => s.beside);
    if (!task || !stream) throw new Error("a task and a stream");
    const tokens = besideOf(model, task, stream, { documents: 2, patches: 16 });
    const columns = table.beside["image"]?.columns ?? {};
    expect(Object.keys(columns)).toContain("pos");
    for (const [name, column] of Object.entries(columns)) if (name !== "id") expect(tokens.map((t) => t.attributes[name]), name).toEqual([...column]);
    for (const draw of [reportSvg(r), reportText(r, { columns: 80, colour: false })]) expect(draw).toContain("to image");
  });

  test("draws the model's mask where no layer attends", () => {
    const model = modelOf(`use std.layers { linear }
model words(d: axis = 8) {
  tokens text = bytes()
  task say(caption: text) = <bos> predict text(caption) <eos>
  mask = causal
  body = linear(d, d)
  loss = next_token(text)
  sample text = greedy()
}`);
    const r = maskReport(model);
    expect(pictures(r).map((p) => p.layers)).toEqual([[]]);
    expect(reportText(r, { columns: 80, colour: false })).toContain("no layer attends");
    expect(pictures(r)[0]?.flops).toEqual({ dense: 0, done: 0, possible: 0 });
  });

  test("takes the tile of the kernels where the sample is long enough", () => {
    const tile: unknown = tileTokens;
    expect(typeof tile === "function" ? (tile as (t: typeof guaranteed) => number)(guaranteed) : tile).toBe(KERNEL_TILE);
    expect(pictures(maskReport(usual, { text: 80 }))[0]?.tile.keys).toBe(KERNEL_TILE);
  });
});

const masks = ["causal", "causal | within(image)", "full", "window(3)", "causal & window(5)", "segment", "prefix", "near(1)", "sees(text, image)", "!causal", "same(turn)", "same(half) | same(role)", "causal & (same(turn) | segment)"];

test("shares add up, and what the kernels are said to skip is never visible", () => {
  fc.assert(fc.property(
    fc.constantFrom(...masks), fc.record({ text: fc.integer({ min: 1, max: 9 }), patches: fc.integer({ min: 1, max: 12 }), documents: fc.integer({ min: 1, max: 3 }), padding: fc.integer({ min: 0, max: 5 }), tile: fc.integer({ min: 1, max: 17 }) }),
    (text, options) => {
      const asked = askedMask(usual, makeSource("--mask", text));
      if (!asked.mask) throw new Error(asked.diagnostics.map((d) => d.message).join("\n"));
      for (const p of pictures(maskReport(withMask(usual, asked.mask), options))) {
        const n = p.tokens.length;
        const across = Math.ceil(n / options.tile);
        expect(p.visible.every((row) => row.length === n && /^[01]*$/.test(row))).toBe(true);
        expect(p.pairs).toEqual({ all: n * n, visible: [...p.visible.join("")].filter((c) => c === "1").length });
        const { tile } = p;
        for (const c of [tile, tile.kernel]) expect(c.empty + c.full + c.mixed).toBe(across ** 2);
        let possible = 0;
        for (let i = 0; i < across; i++) {
          for (let j = 0; j < across; j++) {
            const cells = p.visible.slice(i * options.tile, (i + 1) * options.tile).map((row) => row.slice(j * options.tile, (j + 1) * options.tile)).join("");
            expect(tile.classes[i]?.[j]).toBe(!cells.includes("1") ? "." : cells.includes("0") ? "+" : "#");
            if (cells.includes("1")) possible += cells.length;
          }
        }
        expect(tile.kernel.empty).toBeLessThanOrEqual(tile.empty);
        expect(tile.kernel.full).toBeLessThanOrEqual(tile.full);
        // 3 layers of 2 heads of width 4: a product with the key and one with the value, a multiplication and an addition each.
        const pair = 3 * 2 * 2 * (4 + 4);
        expect(p.flops.dense).toBe(n * n * pair);
        expect(p.flops.possible).toBe(possible * pair);
        expect(p.flops.done).toBeGreaterThanOrEqual(p.flops.possible);
        expect(p.flops.done).toBeLessThanOrEqual(p.flops.dense);
      }
    },
  ), { numRuns: 60 });
});

describe("a mask that is asked about", () => {
  const asked = (text: string) => askedMask(usual, makeSource("--mask", text));
  const places = (text: string): string[] => asked(text).diagnostics.map((d) => `${d.code} ${d.labels.filter((l) => l.primary).map((l) => text.slice(l.span.start, l.span.end)).join()}`);

  test("is in the words of the model", () => {
    const { mask, diagnostics } = asked("  causal & (q.turn == k.turn | k.stream == image) & layer != 1 ");
    expect(diagnostics).toEqual([]);
    expect(mask?.text).toBe("causal & (q.turn == k.turn | k.stream == image) & layer != 1");
    if (!mask) return;
    const [first, second, ...rest] = pictures(maskReport(withMask(usual, mask), { task: "draw" }));
    expect([first?.layers, second?.layers, rest]).toEqual([[0, 2], [1], []]);
    expect(second?.pairs.visible).toBe(0);
    if (first) expectDefined(first, (q, k) => (k["pos"] ?? 0) <= (q["pos"] ?? 0) && (q["turn"] === k["turn"] || k["stream"] === 1));
  });

  test("is refused at its own places", () => {
    expect(places("causl & window(4)")).toEqual(["E0201 causl"]);
    expect(places("causal & window(4, 5)")).toEqual(["E0210 5"]);
    expect(places("q.pos + 1")).toEqual(["E0202 q.pos + 1"]);
    expect(places("causal &")).toEqual(["E0106 "]);
    for (const wrong of ["causal\nmask other(q, k) = true", " ", ""]) expect(asked(wrong)).toEqual({ notOne: true, diagnostics: [] });
    for (const wrong of ["causl", "q.pos + 1", "", "causal)", "}", "\"", "causal } model x {"]) expect(asked(wrong).mask, wrong).toBeUndefined();
  });

  test("never makes the compiler stumble", () => {
    const words = ["causal", "window", "(", ")", "4", "&", "|", "!", "q", ".", "pos", "k", "<=", "==", "head", "layer", "image", "when", "else", "same", "turn", "{", "}", ",", "\n", "mask", "=", "\"", "1.5", "any"];
    fc.assert(fc.property(fc.array(fc.constantFrom(...words), { maxLength: 9 }), (parts) => {
      const text = parts.join(" ");
      const r = asked(text);
      if (!r.mask && !r.notOne) expect(r.diagnostics.length, text).toBeGreaterThan(0);
      for (const d of r.diagnostics) for (const l of d.labels) if (l.span.source === "--mask") expect(l.span.start >= 0 && l.span.end <= text.length && l.span.start <= l.span.end).toBe(true);
    }), { numRuns: 300 });
  });
});

describe("as text", () => {
  test("rows and columns are named", () => {
    expect(reportText(maskReport(usual, { task: "draw", text: 2, patches: 4 }), { columns: 80, colour: false })).toBe(`m, task draw: all heads of layers 0-2
mask causal | within(image)

                <bos>
                | caption
                | |   <boi>
                | |   | picture*
                | |   | |       <eoi>
                | |-- | |------ |
  <bos>         # . . . . . . . .
  caption    0  # # . . . . . . .
             1  # # # . . . . . .
  <boi>         # # # # . . . . .
  picture* 0,0  # # # # # # # # .
           0,1  # # # # # # # # .
           1,0  # # # # # # # # .
           1,1  # # # # # # # # .
  <eoi>         # # # # # # # # #

  rows look, columns are looked at; * is predicted
  pairs   51 of 81 visible, 63%
  tiles   9 of 4 x 4 tokens (on a GPU kernels take 16 x 16): 33% empty, 56% full, 11% mixed
  work    5.47 kflop of 7.78 kflop of attention forward: 30% saved
  sample  2 x 2 of the 3 x 4 patches of picture

Keys and values can be kept while generating: no committed token attends to a later one.
`);
  });

  test("fits the line at any length, and says how to read it", () => {
    const plain = (text: string): string => text.replace(/\u001b\[[\d;]*m/g, "");
    for (const colour of [false, true]) {
      for (const columns of [40, 80]) {
        for (const text of [1, 12, 30, 70, 200]) {
          const out = reportText(maskReport(usual, { task: "describe", text, documents: 2 }), { columns, colour });
          if (!colour) expect(out).not.toContain("\u001b");
          else expect(out).toContain("\u001b[");
          const grid = plain(out).split("\n\n")[1]?.split("\n") ?? [];
          expect(grid.length).toBeGreaterThan(8);
          for (const line of grid) expect(line.length, line).toBeLessThanOrEqual(columns);
          if (text === 200) expect(out).toMatch(/a character is \d+ rows by \d+ columns/);
        }
      }
    }
  });

  test("numbers", () => {
    expect([ranges([0, 1, 2, 4, 6, 7]), ranges([3]), ranges([])]).toEqual(["0-2, 4, 6-7", "3", ""]);
    expect([share(0, 5), share(1, 1000), share(999, 1000), share(5, 5), share(0, 0)]).toEqual(["0%", "under 1%", "over 99%", "100%", "0%"]);
  });
});

/** Names of the elements of well-formed XML in the order they open; throws on anything else. */
function elements(xml: string): string[] {
  const open: string[] = [];
  const all: string[] = [];
  let at = 0;
  const piece = /<(\/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|([^<]+)/y;
  while (at < xml.length) {
    piece.lastIndex = at;
    const m = piece.exec(xml);
    if (!m) throw new Error(`not well-formed at ${at}: ${xml.slice(at, at + 40)}`);
    at = piece.lastIndex;
    const [, closing, name, given = "", self, text] = m;
    for (const part of [given, text ?? ""]) if (/&(?!(?:amp|lt|gt|quot);)|[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(part)) throw new Error(`bad character in ${part}`);
    const names = [...given.matchAll(/([\w:-]+)=/g)].map((x) => x[1]);
    if (new Set(names).size !== names.length) throw new Error(`an attribute twice in ${m[0]}`);
    if (name === undefined) {
      if (open.length === 0 && text?.trim() !== "") throw new Error(`text outside: ${text ?? ""}`);
    } else if (closing) {
      if (open.pop() !== name) throw new Error(`</${name}> closes nothing`);
    } else {
      all.push(name);
      if (!self) open.push(name);
    }
  }
  if (open.length > 0) throw new Error(`${open.join()} left open`);
  return all;
}

describe("drawn", () => {
  const r = maskReport(usual, { text: 4, patches: 4, documents: 2 });

  test("the SVG is well-formed, has its own ground in light and dark, and names its tokens", () => {
    const svg = reportSvg(r);
    const names = elements(svg);
    expect(names.slice(0, 3)).toEqual(["svg", "title", "style"]);
    expect(new Set(names)).toEqual(new Set(["svg", "title", "style", "path", "text"]));
    for (const part of ["prefers-color-scheme:dark", "&lt;bos&gt;", "picture*", "causal | within(image)", "task draw", "task describe", 'class="ground"']) expect(svg).toContain(part);
    expect(() => elements("<svg><a></svg></a>")).toThrow();
    expect(() => elements("<svg>a & b</svg>")).toThrow();
  });

  test("text of a spec cannot break out of it", () => {
    const evil = { ...r, model: "<script>\"&\u0000\ud800", tasks: r.tasks.map((t) => ({ ...t, task: "</text>]]>" })) };
    const svg = reportSvg(evil);
    expect(new Set(elements(svg))).toEqual(new Set(["svg", "title", "style", "path", "text"]));
    expect(svg).not.toMatch(/[\u0000\ud800-\udfff]/);
  });

  test("the area of each colour is what is visible", () => {
    const [p] = pictures(maskReport(usual, { task: "draw", text: 4, patches: 4 }));
    if (!p) throw new Error("a picture");
    const one: MaskReport = { ...r, tasks: [{ task: "draw", pictures: [p] }] };
    const png = decode(reportPng(one));
    const svg = reportSvg(one);
    const size = /width="(\d+)" height="(\d+)"/.exec(svg);
    expect([png.width, png.height, png.channels]).toEqual([2 * Number(size?.[1]), 2 * Number(size?.[2]), 3]);
    const area = (r: number, g: number, b: number): number => {
      let n = 0;
      for (let i = 0; i < png.data.length; i += 3) if (png.data[i] === r && png.data[i + 1] === g && png.data[i + 2] === b) n++;
      return n;
    };
    const seen = (stream: string): number => p.visible.reduce((n, row) => n + [...row].filter((c, j) => c === "1" && p.tokens[j]?.stream === stream).length, 0);
    const span = (stream: string): number => p.tokens.filter((t) => t.stream === stream).length;
    // A cell is 11 units, a unit 2 pixels; lines of tiles run between cells. Brackets and the legend add a little.
    for (const [stream, cells] of [["text", area(0x25, 0x63, 0xeb) / 4], ["image", area(0xe0, 0x7b, 0x00) / 4]] as const) {
      expect(cells).toBeGreaterThanOrEqual(seen(stream) * 121);
      expect(cells).toBeLessThanOrEqual(seen(stream) * 121 + 2 * 3 * 12 * span(stream) + 81);
    }
  });

  test("a long sample stays a page", () => {
    const long = reportSvg(maskReport(usual, { task: "draw", text: 600 }));
    expect(elements(long).length).toBeLessThan(100);
    expect(Number(/width="(\d+)"/.exec(long)?.[1])).toBeLessThan(1000);
    expect(long.length).toBeLessThan(200_000);
  });
});

test("the page of the command shows what the command draws", () => {
  const read = (file: string): string => readFileSync(join(root, file), "utf8");
  const model = modelOf(read("examples/digits/digits.heddle"));
  const text = reportText(maskReport(model, { task: "draw", text: 3, patches: 16, lengths: { picture: 4 } }), { columns: 100, colour: false });
  expect(read("docs/cli.md")).toContain(`$ heddle explain mask examples/digits/digits.heddle --task draw --length 3 --length picture=4\n${text}\`\`\``);
  // Made anew by: heddle explain mask examples/digits/digits.heddle --svg docs/digits-masks.svg
  expect(read("docs/digits-masks.svg")).toBe(reportSvg(maskReport(model, { text: 6, patches: 16 })));
});

test("tokens of padding are of no stream and see no document", () => {
  const [p] = pictures(maskReport(usual, { task: "draw", text: 2, patches: 1, padding: 2 }));
  const padding = p?.tokens.slice(-2) ?? [];
  expect(padding.map((t: PictureToken) => [t.label, t.field, t.stream, t.role])).toEqual([["pad[0]", null, null, "padding"], ["pad[1]", null, null, "padding"]]);
  for (const row of p?.visible.slice(0, -2) ?? []) expect(row.endsWith("00")).toBe(true);
});
