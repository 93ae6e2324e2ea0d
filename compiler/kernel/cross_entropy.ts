// In: logits of a chunk of rows, target class and weight of each row. Out: one kernel: the weighted loss of each row and,
// when asked, the gradient by the logits, which may replace them in place. Rows past the live ones leave at once, with a loss of 0.
// "registers": one invocation a row. "tiles": one workgroup a row. Reads a row before it writes any of it.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, builtin, f32, i32, lt, mul, select, sub, unary } from "../scalar/expr.ts";
import { floor, total } from "./attention_pairs.ts";
import type { KernelParts, Point } from "./body.ts";
import { Body, spaceSize } from "./body.ts";
import type { Target } from "./kernel.ts";
import { ceilDiv, constantOf, coordinates, forEachRun, max, min } from "./space.ts";
import type { CrossEntropyRowSpec, KernelShape } from "./templates.ts";
import { tidy } from "./tidy.ts";

/** Classes an invocation reads at a time. */
const block = 4;

export function crossEntropyRows(parts: KernelParts, spec: CrossEntropyRowSpec, target: Target): KernelShape {
  return target.products === "tiles" ? rowPerGroup(parts, spec, 128) : rowPerInvocation(parts, spec, 8);
}

interface Row {
  readonly at: Point;
  readonly target: ScalarExpr;
  readonly weight: ScalarExpr;
}

function loadRow(b: Body, spec: CrossEntropyRowSpec, at: Point): Row {
  return { at, target: b.let(spec.target(b, at), "target"), weight: b.let(spec.weight(b, at), "weight") };
}

/** Loss from the finished top and mass; the target's class is held inside the vocabulary (rows of weight 0 may name any). */
function finishLoss(b: Body, spec: CrossEntropyRowSpec, row: Row, top: ScalarExpr, mass: ScalarExpr): void {
  if (!spec.loss) return;
  const held = b.let(max(min(row.target, sub(spec.vocab.size, i32(1))), i32(0)), "class");
  const logit = b.let(spec.logits(b, { ...row.at, [spec.vocab.name]: held }));
  spec.loss(b, row.at, b.let(mul(row.weight, sub(add(top, unary("log", mass)), logit)), "loss"));
}

/** weight * dloss * (softmax - [class = target]) at one class. */
function finishGradient(b: Body, spec: CrossEntropyRowSpec, row: Row, at: ScalarExpr, top: ScalarExpr, share: ScalarExpr, pull: ScalarExpr): void {
  const logit = b.let(spec.logits(b, { ...row.at, [spec.vocab.name]: at }));
  const hit = select(binary("eq", at, row.target), pull, f32(0));
  spec.dlogits?.(b, { ...row.at, [spec.vocab.name]: at }, b.let(sub(mul(share, unary("exp", min(sub(logit, top), f32(0)))), hit), "d"));
}

function pulls(b: Body, spec: CrossEntropyRowSpec, row: Row, mass: ScalarExpr): { pull: ScalarExpr; share: ScalarExpr } {
  const pull = spec.dloss ? b.let(mul(row.weight, spec.dloss(b, row.at)), "pull") : row.weight;
  return { pull, share: b.let(binary("div", pull, mass), "share") };
}

function rowPerInvocation(parts: KernelParts, spec: CrossEntropyRowSpec, lanes: number): KernelShape {
  const b = new Body(parts);
  const rows = spaceSize(spec.rows);
  const index = b.let(add(mul(builtin("group.x"), i32(lanes)), builtin("lane.x")), "row");
  const live = spec.live ? b.let(min(spec.live(b), rows), "live") : rows;
  if (spec.live) b.if(and(binary("le", live, index), lt(index, rows)), (body) => spec.loss?.(body, coordinates(spec.rows, index), f32(0)));
  b.if(lt(index, live), (body) => {
    const row = loadRow(body, spec, coordinates(spec.rows, index));
    const top = body.var(floor, "top");
    const mass = body.var(f32(0), "mass");
    eachBlock(body, spec.vocab.size, i32(0), block, block, (inner, classes) => {
      const values = classes.map(({ at, exists }) => {
        const logit = inner.let(spec.logits(inner, { ...row.at, [spec.vocab.name]: at }));
        return exists ? inner.let(select(exists, logit, floor)) : logit;
      });
      const next = inner.let([top, ...values].reduce(max), "top");
      const sum = total(values.map((v, i) => {
        const e = unary("exp", sub(v, next));
        const exists = classes[i]?.exists;
        return exists ? select(exists, e, f32(0)) : e;
      }));
      inner.assign(mass, add(mul(mass, unary("exp", sub(top, next))), sum));
      inner.assign(top, next);
    });
    finishLoss(body, spec, row, top, mass);
    if (!spec.dlogits) return;
    const { pull, share } = pulls(body, spec, row, mass);
    forEachRun(body, [spec.vocab], 1, (inner, [at = {}]) => finishGradient(inner, spec, row, at[spec.vocab.name] ?? i32(0), top, share, pull));
  });
  return { workgroup: [lanes, 1, 1], grid: [ceilDiv(rows, lanes), i32(1), i32(1)], arrays: parts.arrays, body: tidy(parts, b.stmts) };
}

/** Runs of `count` classes from `first`, `step` apart from run to run; edges are clamped and marked. */
function eachBlock(
  b: Body, size: ScalarExpr, first: ScalarExpr, step: number, count: number,
  visit: (b: Body, classes: readonly { at: ScalarExpr; exists: ScalarExpr | undefined }[]) => void,
): void {
  const few = constantOf(size);
  if (few !== undefined && few <= count) {
    visit(b, Array.from({ length: few }, (_, i) => ({ at: i32(i), exists: undefined })));
    return;
  }
  const whole = constantOf(size) !== undefined && (constantOf(size) as number) % step === 0;
  b.loop(first, size, step, (inner, from) => visit(inner, Array.from({ length: count }, (_, i) => {
    const at = add(from, i32(i));
    if (whole || i === 0) return { at, exists: undefined };
    return { at: inner.let(min(at, sub(size, i32(1)))), exists: inner.let(lt(at, size)) };
  })));
}

/** Rows on the grid (x, then y for very many), the row's classes over the lanes; two reductions over the workgroup. */
function rowPerGroup(parts: KernelParts, spec: CrossEntropyRowSpec, lanes: number): KernelShape {
  const b = new Body(parts);
  const across = 32768;
  const rows = spaceSize(spec.rows);
  const index = b.let(add(mul(builtin("group.y"), i32(across)), builtin("group.x")), "row");
  const live = spec.live ? b.let(min(spec.live(b), rows), "live") : rows;
  const inside = b.let(lt(index, live), "inside");
  const row = loadRow(b, spec, coordinates(spec.rows, b.let(min(index, sub(rows, i32(1))), "edge")));
  const scratch = parts.array("scratch", "f32", lanes, "shared");
  const lane = builtin("lane.x");
  // A workgroup past the last row reads no logits: another may be overwriting them.
  const vocab = b.let(select(inside, spec.vocab.size, i32(0)), "vocab");
  const top = b.var(floor, "top");
  b.loop(lane, vocab, lanes, (inner, at) => {
    inner.assign(top, max(top, inner.let(spec.logits(inner, { ...row.at, [spec.vocab.name]: at }))));
  });
  const best = b.laneReduce("max", top, scratch);
  const mass = b.var(f32(0), "mass");
  b.loop(lane, vocab, lanes, (inner, at) => {
    const logit = inner.let(spec.logits(inner, { ...row.at, [spec.vocab.name]: at }));
    inner.assign(mass, add(mass, unary("exp", sub(logit, best))));
  });
  const sum = b.laneReduce("sum", mass, scratch);
  b.if(inside, (body) => {
    body.if(binary("eq", lane, i32(0)), (one) => finishLoss(one, spec, row, best, sum));
  });
  if (spec.live) b.if(and(and(binary("le", live, index), lt(index, rows)), binary("eq", lane, i32(0))), (body) => spec.loss?.(body, row.at, f32(0)));
  if (spec.dlogits) {
    // The loss reads the target's logit, which the gradient may overwrite in place.
    b.barrier();
    b.if(inside, (body) => {
      const { pull, share } = pulls(body, spec, row, sum);
      body.loop(lane, spec.vocab.size, lanes, (inner, at) => finishGradient(inner, spec, row, at, best, share, pull));
    });
  }
  return {
    workgroup: [lanes, 1, 1],
    grid: [min(rows, i32(across)), ceilDiv(rows, across), i32(1)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
  };
}
