// What the compiler says about masks: snapshots of the diagnostics with their witnesses, and silence where a mask is sound.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkFile } from "../../compiler/check.ts";
import { proveMasks } from "../../compiler/mask/proofs.ts";
import { renderAll } from "../../compiler/report/render.ts";
import { makeSource } from "../../grammar/source.ts";
import { check, loaderOf, root } from "../types/loader.ts";

const DRAW = "task draw(caption: text, picture: image) = <bos> given drop(0.1) text(caption) <boi> predict image(picture) <eoi>";
const TELL = "task tell(picture: image, caption: text) = <bos> <boi> given image(picture) <eoi> predict text(caption) <eos>";
const STACK = "stack(2) decoder_block(d, 2, mask)";

interface Case {
  /** Lines of the model. */
  readonly tasks?: readonly string[];
  readonly masks: readonly string[];
  readonly body?: string;
  readonly before?: string;
}

function specOf(c: Case): string {
  const tasks = c.tasks ?? [DRAW, TELL];
  const text = tasks.some((t) => t.includes("predict text"));
  const image = tasks.some((t) => t.includes("predict image"));
  return [
    "use std.blocks { decoder_block }", ...(c.before ? [c.before] : []), "model m(d: axis = 8) {", "  tokens text  = bytes()", "  tokens image = patches(4, of: pixels(8, 8, channels: 1))",
    "  process noising on image = flow()", ...[...tasks, ...c.masks].map((l) => `  ${l}`), "  embed image = linear(image.features, d) + time(noising, d)", `  body = ${c.body ?? STACK}`,
    ...(image ? ["  head image = linear(d, image.features)"] : []), `  loss = ${[...(text ? ["next_token(text)"] : []), ...(image ? ["denoise(image)"] : [])].join(" + ")}`,
    ...(text ? ["  sample text = greedy()"] : []), ...(image ? ["  sample image = euler(steps: 4)"] : []), "}", "",
  ].join("\n");
}

const CLEAN = "mask clean(q, k) = k.time == 0 | q.span == k.span";
const mine = (text: string): readonly string[] => ["mask = mine", `mask mine(q, k) = ${text}`];

const shown: Readonly<Record<string, Case>> = {
  // Tokens that attend to nothing.
  lone_start: { masks: mine("k.pos < q.pos") },
  lone_by_two_parts: { masks: mine("k.stream == text & k.pos <= q.pos & q.span != k.span | q.stream == image & k.role == given") },
  lone_head: { masks: mine("when head == 1 then k.pos < q.pos else k.pos <= q.pos") },
  lone_layer: { masks: ["mask = causal"], body: "[decoder_block(d, 2, mask), decoder_block(d, 2, sees(text, image) & causal)]" },
  never: { masks: mine("q.stream == image & k.pos <= q.pos | k.doc > q.doc") , tasks: [DRAW, "task write(caption: text) = <bos> predict text(caption) <eos>"] },
  // Leaks in one attention.
  leak_full: { masks: ["mask = full"] },
  leak_segment: { masks: ["mask = causal | segment"] },
  leak_of_three: { masks: mine("same(doc) & (k.pos <= q.pos | q.span == k.span) & (k.time == 0 | q.span == k.span)") },
  leak_head: { masks: mine("when head == 1 then window(3) else causal") },
  leak_end: { masks: mine("k.pos <= q.pos | k.role == predicted & k.span > q.span & q.stream == k.stream & q.index > 2") },
  leak_library: { masks: ["mask = window(3)"] },
  leak_mixing: { masks: ["mask = causal"], body: "[decoder_block(d, 2, mask), average(d)]", before: "layer average(d: axis) { forward x[t, d] = x + mean[t](x) }" },
  leak_no_mask: { masks: ["mask = causal"], body: "[decoder_block(d, 2, mask), open(d)]", before: "layer open(d: axis) { axis e = d\n param w[d, e]\n param u[e, d]\n forward x[t, d] = x + dot[e](attend[e](dot[d](x, w), dot[d](x, w), dot[d](x, w), over: t), u) }" },
  // Leaks through several layers.
  leak_two_hops: { masks: mine("k.pos <= q.pos | k.pos == q.pos + 2") },
  leak_by_layers: { masks: mine("causal | (q.stream == image & k.stream == text)"), body: "[decoder_block(d, 2, mask), decoder_block(d, 2, causal)]" },
  leak_prefix: { masks: ["mask = prefix | within(image)"], tasks: ["task draw(caption: text, hint: text, picture: image) = <bos> predict text(caption) <sep> given text(hint) <boi> predict image(picture)"] },
  // Clean copies.
  copy_image: { masks: ["mask = (causal | within(image)) & clean", CLEAN], tasks: ["task draw(caption: text, picture: image) = <bos> given text(caption) <boi> given image(picture) <eoi> <boi> predict image(picture)"] },
  copy_text: { masks: ["mask = causal | within(image)"], tasks: ["task echo(line: text) = <bos> given text(line) <sep> predict text(line) <eos>", DRAW] },
  copy_through_others: { masks: mine("k.pos <= q.pos & !(q.time > 0 & k.time == 0 & q.stream == k.stream) | within(image)"), tasks: ["task draw(caption: text, picture: image) = <bos> given text(caption) <boi> given image(picture) <eoi> <boi> predict image(picture)"] },
  copy_same_block: {
    masks: ["attribute block: int = token.index / 2", ...mine("k.stream == text & k.pos <= q.pos | q.stream == image & k.stream == image & (q.span == k.span & q.block == k.block | k.time == 0 & k.block <= q.block)")],
    tasks: ["task draw(caption: text, picture: image) = <bos> given text(caption) predict image(picture) given image(picture)"],
  },
  // Noised spans.
  noised: { masks: ["mask = causal | within(image)"], tasks: ["task show(caption: text, picture: image, reply: text) = <bos> given text(caption) <boi> predict image(picture) <eoi> predict text(reply) <eos>"] },
  noised_itself: { masks: ["mask = causal | within(image)"], tasks: ["task show(picture: image, reply: text) = <bos> <boi> predict image(picture) predict text(reply) <eos>"] },
  noised_two: { masks: ["mask = causal | within(image)"], tasks: ["task pair(a: image, b: image) = <bos> predict image(a) <sep> predict image(b)", TELL] },
  noised_through_literal: { masks: mine("k.pos <= q.pos & (k.time == 0 | q.span == k.span | q.pos - k.pos == 1 & q.stream == text) | within(image)"), tasks: ["task show(picture: image, reply: text) = <bos> <boi> predict image(picture) <eoi> predict text(reply) <eos>"] },
  // What is not there when sampling, and what cannot be cached.
  ahead_end: { masks: ["mask = prefix | within(image)"] },
  ahead_given: { masks: mine("k.pos <= q.pos | q.stream == image & q.role == predicted"), tasks: ["task draw(caption: text, picture: image) = <bos> predict image(picture) given text(caption)"] },
  cache_given: { masks: ["mask = full"], tasks: ["task draw(caption: text, picture: image) = <bos> given text(caption) <boi> predict image(picture)"] },
  cache_head: { masks: mine("when head == 1 then causal | k.stream == image & q.stream == image else causal"), tasks: ["task pair(a: image, b: image) = <bos> given image(a) <sep> predict image(b)"] },
};

describe("what is said", () => {
  test.each(Object.entries(shown))("%s", async (name, c) => {
    const source = makeSource("spec.heddle", specOf(c));
    const loader = loaderOf();
    const r = checkFile(source, loader);
    expect(r.diagnostics.length).toBeGreaterThan(0);
    const rendered = renderAll(r.diagnostics, (path) => (path === source.path ? source : undefined), { color: false });
    await expect(rendered).toMatchFileSnapshot(join(import.meta.dirname, "diagnostics", `${name}.txt`));
    expect(rendered).not.toContain("undefined");
  });

  test("every snapshot belongs to a case", () => {
    expect(readdirSync(join(import.meta.dirname, "diagnostics")).map((f) => f.replace(".txt", "")).sort()).toEqual(Object.keys(shown).sort());
  });
});

const silent: Readonly<Record<string, Case>> = {
  causal: { masks: ["mask = causal"] },
  transfusion: { masks: ["mask = causal | within(image)"] },
  sliding: { masks: ["mask = window(3) & causal"] },
  documents: { masks: ["mask = causal & document"] },
  prefix: { masks: ["mask = prefix"], tasks: ["task answer(ask: text, reply: text) = <bos> given text(ask) <sep> predict text(reply) <eos>"] },
  hidden: { masks: ["mask = (causal | within(image)) & hidden(image)"], tasks: ["task show(caption: text, picture: image, reply: text) = <bos> given text(caption) <boi> predict image(picture) <eoi> predict text(reply) <eos>"] },
  bagel: { masks: ["mask = (causal | within(image)) & clean", CLEAN], tasks: ["task show(caption: text, picture: image, reply: text) = <bos> given text(caption) <boi> predict image(picture) <eoi> <boi> given image(picture) <eoi> predict text(reply) <eos>"] },
  block_diffusion: {
    masks: ["attribute block: int = token.index / 2", ...mine("k.stream == text & k.pos <= q.pos | q.stream == image & k.stream == image & (q.span == k.span & q.block == k.block | k.time == 0 & k.block < q.block | q.time == 0 & k.time == 0 & k.block <= q.block)")],
    tasks: ["task draw(caption: text, picture: image) = <bos> given text(caption) predict image(picture) given image(picture)"],
  },
  // The same two layers as in leak_by_layers, the other way round: what looks ahead is never read by the words.
  order_of_layers: { masks: mine("causal | (q.stream == image & k.stream == image)"), body: "[decoder_block(d, 2, causal), decoder_block(d, 2, mask)]" },
  // Steps of two behind and a hop of one ahead that only images make.
  images_look_ahead: { masks: mine("k.pos <= q.pos | q.stream == image & k.stream == image & k.pos == q.pos + 1") },
  heads: { masks: mine("when head == 1 then causal & window(2) else causal") },
  layers: { masks: mine("when layer == 0 then causal else causal | within(image)") },
};

test.each(Object.entries(silent))("nothing is said of %s, and nothing stays open", (_, c) => {
  const r = check(specOf(c));
  expect(r.diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([]);
  expect(r.models.flatMap((m) => proveMasks(m).open)).toEqual([]);
});

test("layers the other way round are another model", () => {
  const two = (first: string, second: string): string[] => check(specOf({ masks: mine("causal | (q.stream == image & k.stream == text)"), body: `[decoder_block(d, 2, ${first}), decoder_block(d, 2, ${second})]` })).diagnostics.map((d) => d.code);
  expect(two("mask", "causal")).toContain("E0321");
  expect(two("causal", "mask")).not.toContain("E0321");
});

test("a task that is only sampled has no loss to spoil", () => {
  const spec = specOf({ masks: ["mask = causal | segment"] });
  const codes = (mix: string): string[] => check(spec.replace("  sample text", `  mix = ${mix}\n  sample text`)).diagnostics.map((d) => d.code);
  expect(codes("draw + tell")).toEqual(["E0321"]);
  expect(codes("draw + 0.0 * tell")).toEqual(["W0602"]);
});

/** Warnings that masks of the catalogue rightly have on the small specs that show them; every other one is silent. */
const told: Readonly<Record<string, readonly string[]>> = {
  block_causal: ["W0602"], chunked: ["W0602"], document: ["W0602"], flamingo: ["W0604"], full: ["W0602"], global_window: ["W0602"], sta_2d: ["W0602"], sta_3d: ["W0602"],
  svg_spatial: ["W0602"], svg_temporal: ["W0602"],
  // As published: what follows an image is trained to see it noised.
  transfusion: ["W0605"],
};

test.each(readdirSync(join(root, "docs/masks")).filter((f) => f.endsWith(".heddle")).map((f) => f.replace(".heddle", "")))("the catalogue's %s", (name) => {
  const r = check(readFileSync(join(root, "docs/masks", `${name}.heddle`), "utf8"));
  expect([...new Set(r.diagnostics.map((d) => d.code))]).toEqual(told[name] ?? []);
});
