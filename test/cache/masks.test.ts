// Small specs, one a kind of mask, of attention or of task: what generation says through the cache is what the network says of the
// whole sequence. In double precision, by the meaning of the graphs, so that nothing but rounding may differ.

import { describe, expect, test } from "vitest";
import type { Graph } from "../../compiler/graph/graph.ts";
import { lowerBeside, lowerStep } from "../../compiler/lower/step.ts";
import type { Model } from "../../compiler/types/model.ts";
import { check, lines } from "../types/loader.ts";
import { compareTask } from "./compare.ts";
import { meaningOf, ROUNDING, specOf } from "./meaning.ts";

const tasks = {
  draw: "<bos> given drop(0.1) text(caption) <boi> predict image(picture) <eoi>",
  describe: "<bos> given image(picture) predict text(caption) <eos>",
  both: "<bos> predict image(picture) <eoi> predict text(caption) <eos>",
  illustrate: "<bos> predict text(caption) <boi> predict image(picture) <eoi>",
};
const fields = "caption: text, picture: image";

interface Spec {
  readonly mask?: string;
  /** Members of the model. */
  readonly members?: string;
  readonly tasks?: Readonly<Record<string, string>>;
  readonly fields?: string;
  readonly embed?: string;
  readonly body?: string;
  readonly noising?: string;
  /** No task predicts text. */
  readonly silent?: boolean;
}

const textOf = (s: Spec): string => `use std.blocks { decoder_block, adaln_block, mlp_block, cross_block }
use std.layers { residual }
use std.moe { mot_block }
use std.attention { attention, alibi_attention, cosine_attention, qk_norm_attention, relative_attention, sink_attention, t5_attention }
model m(d: axis = 8) {
  tokens text  = bytes()
  tokens image = patches(4, of: pixels(8, 8, channels: 1))
  process noising on image = ${s.noising ?? "flow()"}
  ${Object.entries(s.tasks ?? tasks).map(([name, t]) => `task ${name}(${s.fields ?? fields}) = ${t}`).join("\n  ")}
  ${s.members ?? ""}
  mask = ${s.mask ?? "causal | within(image)"}
  embed text = embedding(text.vocab, d)${s.embed ?? ""}
  embed image = linear(image.features, d) + grid_positions(image.rows, image.cols, d) + time(noising, d)
  body = ${s.body ?? "stack(2) decoder_block(d, 2, mask)"}
  head image = linear(d, image.features)
  loss = ${s.silent ? "" : "next_token(text) + "}denoise(image)
  ${s.silent ? "" : "sample text = greedy()"}
  sample image = euler(steps: 4)
}`;

function modelOf(text: string): Model {
  const r = check(text);
  const [m] = r.models;
  if (!m || m.notBuilt.length > 0) throw new Error(lines(r, text).join("\n"));
  return m;
}

/** `keep`: how many items of each task the cache may keep; absent where it keeps everything. */
async function agrees(s: Spec, keep?: Readonly<Record<string, number>>): Promise<void> {
  const model = modelOf(textOf(s));
  const spec = specOf(model);
  expect(spec.cache.sound ? undefined : spec.cache.keep, spec.cache.sound ? "" : spec.cache.reason).toEqual(keep);
  const backend = meaningOf(model, spec);
  for (const task of spec.tasks) {
    const { worst, where, logits, denoised } = await compareTask(spec, backend, task.name);
    expect(worst, where).toBeLessThan(ROUNDING);
    expect(logits > 0, task.name).toBe(task.items.some((i) => i.kind === "predict" && i.stream === "text"));
    expect(denoised > 0, task.name).toBe(task.items.some((i) => i.kind === "predict" && i.stream === "image"));
  }
}

describe("masks", () => {
  const masks: Record<string, readonly [mask: string, members?: string]> = {
    "causal": ["causal"],
    "causal and within an image": ["causal | within(image)"],
    "sliding window": ["causal & window(4) | within(image)"],
    "a window and the first tokens": ["mine", "mask mine(q, k) = causal & (k.pos < 2 | q.pos - k.pos < 3)"],
    "dilated": ["mine", "mask mine(q, k) = k.pos <= q.pos & (q.pos - k.pos) % 2 == 0"],
    "the last image is seen, text is a window": ["mine", "mask mine(q, k) = (causal | within(image)) & (k.stream == image | q.pos - k.pos < 3)"],
    "noised spans are hidden from what follows": ["mine", "mask mine(q, k) = (causal | within(image)) & (k.time == 0 | q.span == k.span)"],
    "by task": ["mine", "mask mine(q, k) = k.pos <= q.pos & (q.task != describe | k.stream == image | q.pos - k.pos < 4) | within(image)"],
    "by role": ["mine", "mask mine(q, k) = causal & (k.role == given | q.span == k.span)"],
    "neighbours in the image": ["mine", "mask mine(q, k) = causal & (q.stream == text | near(1))"],
    "by place in the span": ["mine", "mask mine(q, k) = k.pos <= q.pos & (k.index % 2 == 0 | q.span == k.span)"],
  };
  test.each(Object.entries(masks))("%s", (_, [mask, members]) => agrees({ mask, tasks: mask === "mine" && members?.includes("describe") ? tasks : { draw: tasks.draw, both: tasks.both }, ...(members ? { members } : {}) }));
});

describe("tasks", () => {
  const hidden = "mask bagel(q, k) = (causal | within(image)) & (k.time == 0 | q.span == k.span)";
  const apart = "mask apart(q, k) = (causal | within(image)) & (k.span != 1 | q.span == 1)";
  const all: Record<string, Spec> = {
    "a noised copy and a clean one of one image": { members: hidden, mask: "bagel", tasks: { both: "<bos> given drop(0.2) text(title) <boi> predict image(picture) given image(picture) <eoi> predict text(caption) <eos>" }, fields: "title: text, picture: image, caption: text" },
    "an image is given and another made of it": { tasks: { edit: "<bos> given image(before) given drop(0.3) text(wish) predict image(after) <eoi>" }, fields: "before: image, wish: text, after: image", members: "task say(t: text) = <bos> predict text(t) <eos>" },
    "an image is made again beside itself": { mask: "apart", members: apart, tasks: { again: "<bos> given image(picture) predict image(picture) <eoi> predict text(t) <eos>" }, fields: "picture: image, t: text" },
    "text is said again beside itself, and drawn": { mask: "apart", members: apart, tasks: { again: "<bos> given text(t) <sep> predict text(t) <boi> predict image(p) <eoi>" }, fields: "t: text, p: image" },
    "two texts and two images in turn": { tasks: { story: "<bos> predict text(a) <boi> predict image(x) <eoi> given text(b) <sep> predict text(c) <boi> predict image(y) <eoi>" }, fields: "a: text, x: image, b: text, c: text, y: image" },
    "what is given is seen by all": { mask: "prefix", tasks: { draw: tasks.draw, describe: tasks.describe } },
    "groups that are dropped together": { tasks: { draw: "<bos> given drop(0.1) (<sep> given image(style) given text(caption)) <boi> predict image(picture) <eoi> predict text(t) <eos>" }, fields: "style: image, caption: text, picture: image, t: text" },
    "attributes of one's own": { members: "attribute turn: int = 0\n  mask mine(q, k) = causal & (k.turn == q.turn | k.turn == 2) | within(image)", mask: "mine", tasks: { chat: "<bos> given text(a, turn: 1) <sep> given image(p, turn: 2) predict text(b, turn: 1) <eos>", draw: tasks.draw }, fields: "a: text, p: image, b: text, caption: text, picture: image" },
  };
  test.each(Object.entries(all))("%s", (_, s) => agrees(s));
});

describe("masks that look ahead", () => {
  const draw = { draw: tasks.draw };
  const edit = { edit: "<bos> given image(before) given drop(0.3) text(wish) predict image(after) <eoi>" };
  const all: Record<string, readonly [spec: Spec, keep: Readonly<Record<string, number>>]> = {
    "everything": [{ mask: "full", tasks: draw, silent: true }, { draw: 0 }],
    "only neighbours, before and after": [{ mask: "window(3)", tasks: draw, silent: true }, { draw: 0 }],
    "everything, with a given image beside the one that is made": [{ mask: "full", tasks: edit, fields: "before: image, wish: text, after: image", silent: true }, { edit: 0 }],
    "what is given is seen by all, and something is given late": [{ mask: "prefix", tasks: { two: "<bos> given text(t) <boi> predict image(x) <eoi> given text(u) <boi> predict image(y)", describe: tasks.describe }, fields: "t: text, x: image, u: text, y: image, picture: image, caption: text" }, { two: 0, describe: 4 }],
    "an image sees what follows it": [{ mask: "mine", members: "mask mine(q, k) = causal | q.stream == image", tasks: { two: "<bos> given text(t) <boi> predict image(x) given text(u) <boi> predict image(y)" }, fields: "t: text, x: image, u: text, y: image", silent: true }, { two: 3 }],
    "an image sees the text after it, and another image sees that one": [{ mask: "mine", members: "mask mine(q, k) = q.stream == image | k.stream == text & causal", tasks: { two: "<bos> predict image(x) <eoi> predict text(t) <boi> predict image(y)" }, fields: "x: image, t: text, y: image" }, { two: 1 }],
    "what is given in one go sees each other, and one of it what comes later": [{ mask: "mine", members: "mask mine(q, k) = causal | q.span == 3 | q.span == 2 & k.span == 3", tasks: { plan: "<bos> predict text(t) <boi> given text(u) <sep> predict image(x)" }, fields: "t: text, u: text, x: image" }, { plan: 2 }],
    "all that comes after the text sees everything": [{ mask: "mine", members: "mask mine(q, k) = k.pos <= q.pos | q.span >= 3", tasks: { plan: "<bos> given drop(0.1) text(title) predict text(t) <boi> given image(x) predict image(y) <eoi>" }, fields: "title: text, t: text, x: image, y: image" }, { plan: 3 }],
  };
  test.each(Object.entries(all))("%s", (_, [s, keep]) => agrees(s, keep));
});

describe("routed layers", () => {
  const modality = "route modality = by stream { text -> understand; image -> generate }";
  const all: Record<string, Spec> = {
    "two transformers and one attention": { members: modality, body: "stack(2) mot_block(d, 2, mask, modality, qk_norm: true)" },
    "by role, task and an attribute of one's own": {
      members: "attribute turn: int = 0\n  route roles = by role { given -> a; predicted -> b }\n  route jobs = by task { chat -> a; draw -> b }\n  route turns = by turn { 0..2 -> a; else -> b }",
      body: "[residual(routed(roles, swiglu(d, 8))), decoder_block(d, 2, mask), residual(routed(jobs, swiglu(d, 8))), residual(routed(turns, swiglu(d, 8)))]",
      tasks: { chat: "<bos> given text(a, turn: 1) <sep> given image(p, turn: 2) predict text(b, turn: 1) <eos>", draw: tasks.draw }, fields: "a: text, p: image, b: text, caption: text, picture: image",
    },
    "attention inside a branch": { members: modality, body: "[decoder_block(d, 2, mask), residual(routed(modality, attention(d, 2, mask))), decoder_block(d, 2, mask)]" },
    "attention in branches that differ": { members: modality, body: "[decoder_block(d, 2, mask), residual(routed(modality, understand: attention(d, 2, mask), generate: [rms_norm(d), attention(d, 4, mask)])), decoder_block(d, 2, mask)]" },
  };
  test.each(Object.entries(all))("%s", (_, s) => agrees(s));
});

describe("attention", () => {
  const all: Record<string, Spec> = {
    "grouped queries": { body: "stack(2) decoder_block(d, 4, mask, kv: 2)" },
    "one key head, a soft cap, normalised": { body: "[residual(attention(d, 4, mask, kv: 1)), residual(qk_norm_attention(d, 2, mask, soft_cap(5.0)))]" },
    "learned positions": { embed: " + learned_positions(40, d)", body: "stack(2) mlp_block(d, 2, mask)" },
    "blocks that follow the noise level": { body: "stack(2) adaln_block(d, 2, mask, noising)", noising: "diffusion(predict: velocity)" },
    "an encoder beside the sequence": { embed: "", body: "stack(2) cross_block(d, view.tokens, d, 2, mask)", members: "tokens view = patches(4, of: pixels(8, 4, channels: 1))\n  embed view = [linear(view.features, d) + grid_positions(view.rows, view.cols, d), decoder_block(d, 2, full)]", fields: `${fields}, seen: view`, tasks: { draw: `beside view(seen) ${tasks.draw}`, describe: `beside view(seen) ${tasks.describe}` } },
    "heads and layers with windows of their own": { mask: "mine", members: "mask mine(q, k) = causal & q.pos - k.pos < 2 + 4 * head + 3 * layer | within(image)" },
    "sinks, T5's buckets, learned distances, cosines": { body: "[residual(sink_attention(d, 4, mask, kv: 2)), residual(t5_attention(d, 2, mask, buckets: 8, far: 12)), residual(relative_attention(d, 2, mask, far: 3)), residual(cosine_attention(d, 2, mask))]" },
    "sinks": { body: "stack(2) residual(sink_attention(d, 4, mask, kv: 2))" },
    "learned tables by distance": { body: "[residual(t5_attention(d, 2, mask)), residual(relative_attention(d, 2, mask, far: 4))]" },
    "cosines": { body: "[residual(cosine_attention(d, 2, mask)), residual(alibi_attention(d, 2, mask))]" },
    "scores by head": { body: "stack(2) residual(qk_norm_attention(d, 2, mask, alibi(2)))" },
    "layers with masks of their own": { body: "[decoder_block(d, 2, causal & window(3)), decoder_block(d, 2, causal | within(image)), decoder_block(d, 2, causal)]" },
  };
  test.each(Object.entries(all))("%s", (_, s) => agrees(s));

  test("what stands beside is encoded once, and its rows are not read again", () => {
    const model = modelOf(textOf(all["an encoder beside the sequence"] ?? {}));
    const inputs = (graph: Graph): string[] => graph.nodes.flatMap((n) => (n.op === "input" ? [n.attrs.name] : []));
    expect(inputs(lowerBeside(model).graph)).toContain("view.clean");
    expect(inputs(lowerBeside(model).graph).filter((n) => !n.startsWith("view."))).toEqual([]);
    expect(inputs(lowerStep(model, "step").graph)).not.toContain("view.clean");
    expect(inputs(lowerStep(model, "denoise").graph)).not.toContain("view.clean");
  });

  test("a row beside that looks at the sequence would tell earlier tokens of later ones, and is refused", () => {
    const layer = `layer back(d: axis, rows: axis) {
  param w[d] ~ ones
  forward (x[t, d], memory[rows, d]) = x + attend[d](x, attend[d](memory * w, x, x, over: rows, keys: t), memory, over: t, keys: rows)
}
`;
    const text = layer + textOf({ body: "back(d, view.tokens)", members: "tokens view = patches(4, of: pixels(8, 4, channels: 1))\n  embed view = linear(view.features, d)", fields: `${fields}, seen: view`, tasks: { draw: `beside view(seen) ${tasks.draw}`, describe: `beside view(seen) ${tasks.describe}` } });
    expect(lines(check(text), text)).toEqual(["E0246 the row of stream `view` stands beside the sequence and cannot look at it @ rows"]);
  });

  test("keys and values in halves differ by their rounding, and by no more", async () => {
    const model = modelOf(textOf({}));
    const spec = specOf(model);
    for (const task of spec.tasks) {
      const { worst, where } = await compareTask(spec, meaningOf(model, spec, "f16"), task.name);
      expect(worst, where).toBeGreaterThan(ROUNDING);
      expect(worst, where).toBeLessThan(4 * 2 ** -11);
    }
  });
});
