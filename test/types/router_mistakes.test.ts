// What is said of routers that cannot be: one line each, at the place of the mistake. And what is read and sound.

import { expect, test } from "vitest";
import { check, lines } from "./loader.ts";

const said = (text: string): string[] => lines(check(text), text);
const GATE = "  gate = linear(d, axis experts)\n";
const router = (choose: string, more = "", params = "d: axis, experts: int = 8"): string => `router mine(${params}) {\n${GATE}${more}  choose x[t, d] = ${choose}\n}\n`;
const layer = (made: string): string => `${router("top(2, softmax[experts](gate(x)))")}layer block(d: axis) {\n  ffn = ${made}\n  forward x[t, d] = ffn(x)\n}\n`;
const model = (body: string, more = ""): string => `use std.routers { top_experts, mixtral_experts, deepseek_experts, hash_experts }
use std.moe { moe_block, deepseek_moe_block }
${more}
model small(d: axis = 8, experts: int = 4) {
  tokens text = bytes()
  task write(line: text) = <bos> predict text(line) <eos>
  body = ${body}
  loss = next_token(text)
  sample text = greedy()
}
`;
const inModel = (text: string): string[] => said(model("routed(mine(d, experts), swiglu(d, d))", text));

test("more experts than there are, where the numbers are known", () => {
  expect(inModel(router("top(5, softmax[experts](gate(x)))"))).toEqual(["E0257 5 experts are chosen, and there are 4 @ 5"]);
  expect(inModel(router("top(2, softmax[experts](gate(x)), groups: 3)"))).toEqual(["E0257 4 experts do not make 3 equal groups @ 3"]);
  expect(inModel(router("top(2, softmax[experts](gate(x)), groups: 2, keep: 3)"))).toEqual(["E0257 3 groups are kept, and there are 2 @ 3"]);
  expect(inModel(router("top(3, softmax[experts](gate(x)), groups: 2)"))).toEqual(["E0257 3 experts are chosen, and the groups that are kept have 2 @ 3"]);
  expect(inModel(router("top(1, softmax[experts](gate(x)), groups: 4)"))).toEqual(["E0257 a group is ranked by its 2 best experts, and has 1 @ 4"]);
  expect(inModel(router("top(1, softmax[experts](gate(x)), groups: 4, best: 1)"))).toEqual([]);
  expect(inModel(router("expert_choice(5, softmax[experts](gate(x)))"))).toEqual(["E0257 a token would go to 5 experts on average, and there are 4 @ 5"]);
});

test("numbers that are none, or too small", () => {
  expect(said(router("top(0, softmax[experts](gate(x)))"))).toEqual(["E0319 `k` of `top` is 0, and at least 1 is needed @ 0"]);
  expect(said(router("top(1.5, softmax[experts](gate(x)))"))).toEqual(["E0202 `k` of `top` is a whole number, and this is a number with a fraction @ 1.5"]);
  expect(said(router("top(2, softmax[experts](gate(x)), capacity: -1.0)"))).toEqual(["E0319 `capacity` of `top` is -1, and at least 0 is needed @ -1.0"]);
  expect(said(router("top(2, softmax[experts](gate(x)), renormalise: 1)"))).toEqual(["E0202 `renormalise` of `top` is `true` or `false`, and this is a whole number @ 1"]);
  expect(said(router("top(2, softmax[experts](gate(jitter(x, 1.0))))"))).toEqual(["E0319 a jitter of 1 would turn values around @ 1.0"]);
  expect(said(router("top(2, softmax[experts](gate(x)), scores: gate(x))"))[0]).toMatch(/^E0208 `top` has no argument `scores`|^E0210/);
});

test("scores without one axis of experts", () => {
  expect(said(router("top(1, sum[experts](gate(x)))"))).toEqual(["E0258 `sum[experts](gate(x))` has no axis that counts experts @ sum[experts](gate(x))"]);
  expect(said(router("top(1, gate(x) * w)", "  param w[d]\n"))).toEqual(["E0258 `gate(x) * w` has 2 axes that could count experts @ gate(x) * w"]);
  expect(said(router("top(1, gate(x), by: rename[experts -> other](gate(x)))"))).toEqual(["E0258 `by` selects along `other`, and the scores count experts along `experts` @ rename[experts -> other](gate(x))"]);
  expect(said(router("soft(slots, gate(x))"))[0]).toMatch(/^E0258 `gate\(x\)` has no axis `slots` that counts slots/);
  expect(said(router("pick[experts](gate(x))"))).toEqual(["E0219 `pick` takes the number of an expert, and this is no whole number @ gate(x)"]);
  expect(said(router("pick[experts](int(gate(x)))"))[0]).toMatch(/^E0258 `pick` takes one whole number a token/);
  expect(said(model("routed(mine(d), swiglu(d, d))", router("top(1, gate(x))").replace("x[t, d]", "x[d]")))).toEqual([]);
  expect(said(layer("routed(mine(d), swiglu(d, d))").replace("forward x[t, d] =", "forward x[d] ="))).toEqual([]);
  expect(said(model("[pooled(d), swiglu(d, d)]", `${layer("routed(mine(d), swiglu(d, d))")}layer pooled(d: axis) {\n  inner = block(d)\n  forward x[t, d] = x + inner(mean[t](x))\n}\n`.replace("forward x[t, d] = ffn", "forward x[d] = ffn")))[0]).toMatch(/^E0213 router `mine` needs axis `t`, which its input does not have/);
});

test("a router that chooses nothing", () => {
  expect(said(`router mine(d: axis) {\n  gate = linear(d, axis experts = 4)\n}\n`)).toEqual(["E0212 router `mine` has no `choose` @ mine"]);
  expect(said(router("gate(x)"))).toEqual(["E0259 `choose` of router `mine` gives a tensor, not a choice of experts @ gate(x)"]);
  expect(said("router mine(d: axis) {\n  gate = linear(d, axis experts = 4)\n  choose x = top(1, gate(x))\n}\n")).toEqual(["E0259 `choose` of router `mine` takes one tensor and names its axes @ choose"]);
});

test("weights that balance nothing", () => {
  const bias = (declared: string, given = "bias"): string[] => said(router(`top(1, sigmoid(gate(x)), balance: ${given})`, declared));
  expect(bias("  param bias[experts] ~ zeros\n")).toEqual([]);
  expect(bias("  param bias[d] ~ zeros\n")).toEqual(["E0260 `bias` has axes `d`, and one number for each expert is needed @ bias"]);
  expect(bias("  param bias ~ zeros\n")).toEqual(["E0260 `bias` has axes none, and one number for each expert is needed @ bias"]);
  expect(bias("  param bias[experts]\n")).toEqual(["E0260 `bias` does not start at zero, so some experts would be preferred from the start @ bias"]);
  expect(bias("  frozen param bias[experts] ~ zeros\n")).toEqual(["E0260 `bias` is frozen, and balancing moves it @ bias"]);
  expect(bias("  param bias[experts] ~ zeros\n", "2.0 * bias")).toEqual(["E0260 `balance` is a weight that follows the load of the experts, and this is a tensor @ 2.0 * bias"]);
  expect(inModel(router("top(1, sigmoid(gate(x) + bias), balance: bias)", "  param bias[experts] ~ zeros\n"))).toEqual(["E0260 weight `bias` is moved by the load of the experts, and has a gradient too @ bias"]);
  expect(said(model("routed(top_experts(d, 2, 1), routed(deepseek_experts(d, 4, 2), swiglu(d, d)))"))[0]).toMatch(/^E0260 inside an expert nothing follows the load/);
});

test("losses that are no numbers", () => {
  const loss = (text: string, choose = "top(2, softmax[experts](gate(x)))"): string[] => said(`${router(choose).replace(/\}\n$/, "")}  loss ${text}\n}\n`);
  expect(loss("load_balance(choose)")).toEqual([]);
  expect(loss("0.5")).toEqual(["E0261 a loss of a router is a number that follows from what it chose, and this is a number with a fraction @ 0.5"]);
  expect(loss("gate(x)")).toEqual(["E0261 a loss of a router is one number @ gate(x)"]);
  expect(loss("load_balance(gate)")).toEqual(["E0262 `load_balance` is about what a router chose, and this is a layer @ gate"]);
  expect(loss("load_balance(choose)", "pick[experts](token.id % experts)")).toEqual(["E0261 `load_balance` needs scores of experts, and `pick` has none @ choose"]);
  const mixed = router("soft(slots, dot[d](x, slot))", "  axis slots = 2\n  frozen param slot[d, experts, slots]\n").replace(/\}\n$/, "");
  expect(said(`${mixed}  loss importance(choose)\n}\n`)).toEqual(["E0261 `importance` needs weights of experts, and a soft mixture sends every token everywhere @ choose"]);
  expect(loss("load_balance(choose, over: d)")).toEqual(["E0213 what was chosen has no axis `d` @ d"]);
  expect(loss("z_loss(sum[experts](gate(x)))")).toEqual(["E0258 `sum[experts](gate(x))` has no axis that counts experts @ sum[experts](gate(x))"]);
});

test("choices and losses outside a router", () => {
  const forward = (text: string): string[] => said(`layer mine(d: axis) {\n  forward x[t, d] = ${text}\n}\n`);
  expect(forward("top(2, x)")).toEqual(["E0262 `top` chooses experts, and this is no router @ top"]);
  expect(forward("expert_choice(2, x)")).toEqual(["E0262 `expert_choice` chooses experts, and this is no router @ expert_choice"]);
  expect(forward("z_loss(x)")).toEqual(["E0262 `z_loss` is a loss of a router @ z_loss"]);
  expect(forward("x + load_balance(x)")).toEqual(["E0262 `load_balance` is about what a router chose, and this is a tensor @ x"]);
});

test("tokens compete in samples alone", () => {
  expect(said(model("routed(top_experts(d, 2, 1), routed(mine(d, 4), swiglu(d, d)))", router("expert_choice(1, softmax[experts](gate(x)))")))[0]).toMatch(/^E0263 `expert_choice` lets the tokens of a sample compete/);
});

test("slots of experts are no tokens", () => {
  const inner = "layer placed(d: axis) {\n  param w[d]\n  forward x[t, d] = x + float(token.pos) * w\n}\n";
  for (const choose of ["expert_choice(1, softmax[experts](gate(x)))", "soft(slots, dot[d](x, slot))"]) {
    const own = router(choose, "  axis slots = 2\n  frozen param slot[d, experts, slots]\n");
    const at = (expert: string): string | undefined => said(`use std.routers { top_experts }\nroute sides = by stream { text -> a; else -> b }\n${own}${inner}layer block(d: axis) {\n  ffn = routed(mine(d), ${expert})\n  forward x[t, d] = ffn(x)\n}\n`)[0];
    expect(at("swiglu(d, d)")).toBeUndefined();
    expect(at("placed(d)")).toBe("E0264 `token.pos` is about tokens, and router `mine` gives its experts slots @ token.pos");
    expect(at("attention(d, 2, full)")).toMatch(/^E0264 a position is about tokens/);
    expect(at("plain_attention(d, 2, full)")).toMatch(/^E0264 attention is about tokens/);
    expect(at("routed(top_experts(d, 4, 2), swiglu(d, d))")).toMatch(/^E0264 a router is about tokens/);
  }
});

test("nothing joins tokens inside a routed layer but attention", () => {
  const pool = "layer pool(d: axis) {\n  w = linear(d, d)\n  forward x[t, d] = x + mean[t](w(x))\n}\n";
  const inside = (route: string): string[] => said(model(`[routed(${route}), rms_norm(d)]`, `use std.routers { soft_experts }\nroute sides = by row { 0 -> a; else -> b }\n${pool}`));
  for (const route of ["sides, pool(d)", "sides, a: pool(d), b: linear(d, d)", "top_experts(d, 4, 2), pool(d)", "soft_experts(d, 4), pool(d)"])
    expect(inside(route)).toEqual(["E0265 `mean[t](w(x))` joins tokens of every branch @ t"]);
});

test("routers and layers", () => {
  expect(said(layer("routed(mine(d), swiglu(d, d))"))).toEqual([]);
  expect(said(layer("routed(mine, swiglu(d, d))"))[0]).toMatch(/^E0209 router `mine` takes arguments/);
  expect(said(layer("routed(swiglu(d, d), mine(d))"))[0]).toMatch(/^E0202 `route` of `routed` is a route/);
  expect(said(layer("routed(mine(d, experts: 4, k: 2), swiglu(d, d))"))[0]).toMatch(/^E0208 `mine` has no argument `k`/);
  expect(said(`${router("top(2, softmax[experts](gate(x)))")}layer block(d: axis) {\n  forward x[t, d] = routed(mine(d), swiglu(d, d))(x)\n}\n`)[0]).toMatch(/^E0222/);
  // Without parameters a router is called by its bare name.
  expect(said("router by_place {\n  axis experts = 4\n  choose x[t] = pick[experts](token.pos % 4)\n}\nlayer block(d: axis) {\n  ffn = routed(by_place, swiglu(d, d))\n  forward x[t, d] = ffn(x)\n}\n")).toEqual([]);
});

test("the number of a token is read in layers and routers, never in masks", () => {
  expect(said("mask mine(q, k) = q.id == k.id\n")).toEqual(Array.from({ length: 2 }, () => "E0221 masks and scores do not read the `id` of tokens @ id"));
  expect(said("layer mine(d: axis) {\n  param w[d]\n  forward x[t, d] = x + float(token.id) * w\n}\n")).toEqual([]);
  expect(said(model("swiglu(d, d)").replace("task write", "attribute id: int = 0\n  task write"))[0]).toMatch(/^E0235/);
});

test("blocks of the library", () => {
  for (const body of [
    "stack(2) moe_block(d, 2, causal, mixtral_experts(d, 4), hidden: d)",
    "stack(2) i => deepseek_moe_block(d, 2, causal, when i == 0 hash_experts(d, 4) else deepseek_experts(d, 8, 2, groups: 4, keep: 2), d, shared: 2 * d)",
  ]) {
    const r = check(model(body));
    expect(lines(r, model(body))).toEqual([]);
    expect(r.models[0]?.routed.map((x) => x.path)).toEqual(["body[0].ffn", "body[1].ffn"]);
  }
  const r = check(model("stack(2) moe_block(d, 2, causal, mixtral_experts(d, 4), hidden: d)"));
  expect(r.models[0]?.parameters.filter((p) => p.router).map((p) => p.path)).toEqual(["body[0].experts.gate.w", "body[1].experts.gate.w"]);
});
