// In: a group of linear + cross-entropy results with equal operands. Out: one repeat over chunks of rows: logits of a chunk by a
// product, loss and gradient of the logits in place, then the products into dx and dw (which adds up over the chunks).
// Never more than one chunk of logits exists; the last chunk has the rows that are left. Rows of weight 0 cost nothing: those of
// another weight come first (grouped once for all losses of one weight), and tiles and chunks past them leave at once.

import type { Axis, Node, NodeId } from "../graph/graph.ts";
import type { OpAttrs } from "../graph/ops.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, f32, i32, length, lt, mul, select, sub } from "../scalar/expr.ts";
import type { Body, Point, PointFn, SinkFn, SpaceAxis } from "./body.ts";
import { KernelParts, spaceSize } from "./body.ts";
import { coordinate, spaceAxis, splitPoint } from "./coords.ts";
import type { Evaluator, Storage } from "./evaluate.ts";
import type { Group, Member } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { GroupShared } from "./lower_group_by.ts";
import { loadAt, rowAt } from "./lower_group_by.ts";
import type { Lowering } from "./lowering.ts";
import { ceilBy, dispatchOf, groupEvaluator } from "./lowering.ts";
import type { RowClasses } from "./row_classes.ts";
import { max, min } from "./space.ts";
import type { ProductSpec } from "./templates.ts";

const row = "row of chunk";

export function lowerCrossEntropy(low: Lowering, g: Group, shared: GroupShared): ProgramStep[] {
  const node = g.members[0]?.work.node as Node;
  const attrs = node.attrs as OpAttrs["linear_ce"];
  const [x, w, target, weight] = node.args as [NodeId, NodeId, NodeId, NodeId];
  const typeOf = (id: NodeId): readonly Axis[] => (low.analysis.graph.nodes[id] as Node).type.axes;
  const axis = (id: NodeId, name: string): SpaceAxis => spaceAxis(typeOf(id).find((t) => t.name === name) as Axis);
  const rows = typeOf(x).filter((t) => t.name !== attrs.from).map(spaceAxis);
  const from = axis(w, attrs.from);
  const vocab = axis(w, attrs.vocab);
  const total = spaceSize(rows);
  const wide = vocab.size.kind === "const" ? vocab.size.value : 65536;
  const most = Math.max(4, Math.min(4096, Math.floor(low.chunkBytes / (16 * wide)) * 4));
  const chunk = length("chunk");
  const inChunk: SpaceAxis = { name: row, size: binary("min", sub(total, mul(chunk, i32(most))), i32(most)) };
  const longest: SpaceAxis = { name: row, size: binary("min", total, i32(most)) };
  const logits = { ...low.temp(`logits.${node.id}`, { dtype: "f32", axes: [longest, vocab] }), axes: [inChunk, vocab] };

  const live = alwaysLive(low, weight) ? undefined : shared.make(low, g, {
    name: `live.${weight}.${rows.map((r) => r.name).join(".")}`, rows, classes: i32(1),
    of: (ev, b, at) => select(binary("eq", ev.value(b, weight, at), f32(0)), i32(-1), i32(0)),
  }, weight);
  const first = mul(chunk, i32(most));
  const inside = (ev: Evaluator, b: Body, at: Point): Point => {
    const slot = add(first, coordinate(at, row));
    return { ...at, ...splitPoint(rows, live ? rowAt(ev, b, live.grouped.order, b.let(max(i32(0), min(slot, sub(total, i32(1)))), "slot")) : slot) };
  };
  /** How many rows of the chunk have a weight; they stand first. */
  const liveCount = live && ((ev: Evaluator) => (b: Body): ScalarExpr =>
    b.let(max(i32(0), min(sub(loadAt(ev, b, live.grouped.offset, i32(1)), first), inChunk.size)), "live"));
  const liveRows = (ev: Evaluator): RowClasses | undefined => liveCount && {
    rows: [inChunk], classes: { name: "live", size: i32(1) }, first: 0, order: (_, slot) => slot,
    offset: (b, cls) => select(binary("eq", cls, i32(0)), i32(0), liveCount(ev)(b)),
  };
  const overLive = (ev: Evaluator): Pick<ProductSpec, "m" | "rows"> => {
    const classes = liveRows(ev);
    return classes ? { m: [], rows: classes } : { m: [inChunk] };
  };
  const member = (op: Node["op"]): Member | undefined => g.members.find((m) => m.work.node.op === op);
  const steps: ProgramStep[] = [];
  const kernel = (what: string, nodes: readonly (Member | undefined)[], make: (parts: KernelParts, ev: Evaluator) => Parameters<typeof dispatchOf>[4]): void => {
    const parts = new KernelParts();
    const shape = make(parts, groupEvaluator(low, g, parts));
    steps.push(dispatchOf(low, g, what, parts, shape, nodes.flatMap((m) => (m ? [m.work.node.id] : []))));
  };
  const at = (ev: Evaluator, id: NodeId, names: Readonly<Record<string, string>> = {}): PointFn => (b, p) => {
    const own: Record<string, ScalarExpr> = { ...inside(ev, b, p) };
    for (const [mine, theirs] of Object.entries(names)) own[mine] = coordinate(p, theirs);
    return ev.value(b, id, own);
  };
  const [loss, dx, dw] = [member("linear_ce"), member("linear_ce_dx"), member("linear_ce_dw")];
  const dloss = (dx ?? dw)?.work.node.args[4];
  const k = (a: SpaceAxis): SpaceAxis => ({ ...a, name: `k:${a.name}` });
  const storeRow = (ev: Evaluator, m: Member | undefined): SinkFn | undefined =>
    m && ((b, p, value) => { for (const to of low.stores(m)) ev.store(b, to, inside(ev, b, p), value); });

  kernel("logits product", [loss ?? dx ?? dw], (parts, ev) => low.templates.product(parts, {
    batch: [], ...overLive(ev), leaveNowhere: true, n: [vocab],
    terms: [{
      k: [k(from)], a: at(ev, x, { [attrs.from]: `k:${attrs.from}` }),
      b: (b, p) => ev.value(b, w, { [attrs.from]: coordinate(p, `k:${attrs.from}`), [attrs.vocab]: coordinate(p, attrs.vocab) }),
      aContiguous: `k:${attrs.from}`, bContiguous: last(low, w) === attrs.vocab ? attrs.vocab : `k:${attrs.from}`,
    }],
    sink: (b, p, value) => ev.store(b, logits, p, value),
  }, low.target));

  kernel("cross-entropy rows", [loss, dx, dw], (parts, ev) => {
    const lossSink = storeRow(ev, loss && low.stores(loss).length > 0 ? loss : undefined);
    return low.templates.crossEntropyRows(parts, {
      rows: [inChunk], vocab, logits: (b, p) => ev.load(b, logits, p), target: at(ev, target),
      weight: at(ev, weight), ...(liveCount ? { live: liveCount(ev) } : {}),
      ...(lossSink ? { loss: lossSink } : {}),
      ...(dloss !== undefined ? { dloss: at(ev, dloss), dlogits: (b: Body, p: Point, v: ScalarExpr) => ev.store(b, logits, p, v) } : {}),
    }, low.target);
  });

  const logitsAt = (ev: Evaluator): PointFn => (b, p) => ev.load(b, logits, { [row]: p[row] ?? coordinate(p, `k:${row}`), [attrs.vocab]: p[attrs.vocab] ?? coordinate(p, `k:${attrs.vocab}`) });
  if (dx) kernel("dx product", [dx], (parts, ev) => low.templates.product(parts, {
    batch: [], ...overLive(ev), n: [from],
    terms: [{
      k: [k(vocab)], a: logitsAt(ev),
      b: (b, p) => ev.value(b, w, { [attrs.from]: coordinate(p, attrs.from), [attrs.vocab]: coordinate(p, `k:${attrs.vocab}`) }),
      aContiguous: `k:${attrs.vocab}`, bContiguous: last(low, w) === attrs.vocab ? `k:${attrs.vocab}` : attrs.from,
    }],
    sink: storeRow(ev, dx) as SinkFn,
  }, low.target));

  if (dw) kernel("dw product", [dw], (parts, ev) => {
    const to = low.stores(dw);
    const vocabLast = (to[0] as Storage).axes[(to[0] as Storage).axes.length - 1]?.name === attrs.vocab;
    const xAt: PointFn = (b, p) => ev.value(b, x, { [attrs.from]: coordinate(p, attrs.from), ...inside(ev, b, { [row]: p[row] ?? coordinate(p, `k:${row}`) }) });
    const classes = liveRows(ev);
    const [m, n] = vocabLast ? [from, vocab] : [vocab, from];
    return low.templates.product(parts, {
      batch: [], m: [m], n: [n], ...(classes ? { sum: classes } : {}),
      terms: [{
        k: classes ? [] : [k(inChunk)], a: vocabLast ? xAt : logitsAt(ev), b: vocabLast ? logitsAt(ev) : xAt, aContiguous: m.name, bContiguous: n.name,
      }],
      sink: (b, p, value) => {
        const put = (body: Body): void => {
          const sum = body.var(value);
          for (const s of to) {
            body.if(lt(i32(0), chunk), (later) => later.assign(sum, add(value, ev.load(later, s, p))));
            ev.store(body, s, p, sum);
          }
        };
        // Chunks without a row that counts add nothing.
        if (liveCount) b.if(binary("or", binary("eq", chunk, i32(0)), lt(i32(0), liveCount(ev)(b))), put);
        else put(b);
      },
    }, low.target);
  });
  return [...(live?.steps ?? []), { kind: "repeat", name: "chunk", count: binary("max", i32(1), ceilBy(total, most)), steps }];
}

/** Whether a weight is one number other than 0 everywhere. */
function alwaysLive(low: Lowering, weight: NodeId): boolean {
  let n = low.analysis.graph.nodes[weight] as Node;
  while (n.op === "broadcast" || n.op === "rename" || n.op === "split" || n.op === "merge") n = low.analysis.graph.nodes[n.args[0] as NodeId] as Node;
  return n.op === "const" && n.attrs.value !== 0;
}

const last = (low: Lowering, id: NodeId): string | undefined => (low.analysis.graph.nodes[id] as Node).type.axes.at(-1)?.name;
