// In: statements with `lane_reduce`. Out: the same over a shared scratch array, barriers and loops, so that the verifier, the
// interpreter and the emitter see one thing. Two levels instead of a tree: 3 barriers whatever the workgroup's size, and
// the same order of additions in every run. The result is the same in all lanes; when it steers a barrier it is read by
// a uniform load, because no emitter target would believe us otherwise.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, builtin, children, i32, lt, mul, name as ref } from "../scalar/expr.ts";
import type { Kernel, Stmt } from "./kernel.ts";
import { binderOf, eachStmt, exprsOf } from "./walk.ts";

const combine = { sum: "add", max: "max", min: "min" } as const;

/** The linear index of an invocation within its workgroup. */
export function laneIndex(workgroup: Kernel["workgroup"]): ScalarExpr {
  const [x, y, z] = workgroup;
  let index: ScalarExpr = builtin("lane.x");
  if (y > 1) index = add(index, mul(builtin("lane.y"), i32(x)));
  if (z > 1) index = add(index, mul(builtin("lane.z"), i32(x * y)));
  return index;
}

/** Replaces every `lane_reduce` of the kernel. */
export function expandLaneReduce(kernel: Kernel): Kernel {
  let any = false;
  eachStmt(kernel.body, (s) => { any ||= s.kind === "lane_reduce"; });
  if (!any) return kernel;
  const steering = steersBarrier(kernel.body);
  const types = new Map(kernel.arrays.map((a) => [a.name, a.dtype]));
  const expand = (stmts: readonly Stmt[]): Stmt[] =>
    stmts.flatMap((s): Stmt[] => {
      switch (s.kind) {
        case "loop": return [{ ...s, body: expand(s.body) }];
        case "if": return [s.else ? { ...s, then: expand(s.then), else: expand(s.else) } : { ...s, then: expand(s.then) }];
        case "lane_reduce":
          if (types.get(s.scratch) !== s.value.type) throw new Error(`lane_reduce ${s.name}: scratch ${s.scratch} is not ${s.value.type}`);
          return reduction(s, kernel.workgroup, steering.has(s.name));
        default: return [s];
      }
    });
  return { ...kernel, body: expand(kernel.body) };
}

function reduction(s: Stmt & { kind: "lane_reduce" }, workgroup: Kernel["workgroup"], uniform: boolean): Stmt[] {
  const total = workgroup[0] * workgroup[1] * workgroup[2];
  const type = s.value.type;
  const n = (part: string): string => `${s.name}_${part}`;
  if (total === 1) return [{ kind: "let", name: s.name, value: s.value }];
  const lane = ref(n("lane"), "i32");
  /** acc = scratch[from]; then every `step`-th after it, below `to`; left in the var `acc`. */
  const fold = (part: string, from: ScalarExpr, to: number, step: number): Stmt[] => [
    { kind: "aload", name: n(`${part}_first`), from: s.scratch, index: from },
    { kind: "var", name: n(part), value: ref(n(`${part}_first`), type) },
    {
      kind: "loop", name: n(`${part}_i`), from: i32(1), to: i32(Math.ceil(to / step)), step: 1,
      body: [
        { kind: "aload", name: n(`${part}_x`), from: s.scratch, index: add(from, mul(ref(n(`${part}_i`), "i32"), i32(step))) },
        { kind: "assign", name: n(part), value: binary(combine[s.op], ref(n(part), type), ref(n(`${part}_x`), type)) },
      ],
    },
  ];
  // lanes 0 .. width-1 each fold a stride of the scratch; width * width is near the workgroup's size and divides it.
  let width = 1;
  while (width * width < total && total % (width * 2) === 0) width *= 2;
  const split = width > 1 && total > 8;
  const out: Stmt[] = [
    { kind: "let", name: n("lane"), value: laneIndex(workgroup) },
    { kind: "astore", to: s.scratch, index: lane, value: s.value },
    { kind: "barrier" },
  ];
  if (split) {
    out.push({
      kind: "if", cond: lt(lane, i32(width)),
      then: [...fold("part", lane, total, width), { kind: "astore", to: s.scratch, index: lane, value: ref(n("part"), type) }],
    }, { kind: "barrier" });
  }
  const rest = split ? width : total;
  if (uniform) {
    out.push(
      { kind: "if", cond: binary("eq", lane, i32(0)), then: [...fold("all", i32(0), rest, 1), { kind: "astore", to: s.scratch, index: i32(0), value: ref(n("all"), type) }] },
      { kind: "aload", name: s.name, from: s.scratch, index: i32(0), uniform: true },
    );
  } else {
    out.push(...fold("all", i32(0), rest, 1), { kind: "let", name: s.name, value: ref(n("all"), type) }, { kind: "barrier" });
  }
  return out;
}

/** Names whose value decides, through any chain of bindings, whether or how often a barrier runs. */
function steersBarrier(body: readonly Stmt[]): Set<string> {
  const uses = new Map<string, Set<string>>();
  const roots = new Set<string>();
  const namesIn = (e: ScalarExpr, into: Set<string>): void => {
    if (e.kind === "name") into.add(e.name);
    for (const c of children(e)) namesIn(c, into);
  };
  eachStmt(body, (s) => {
    const target = s.kind === "assign" ? s.name : binderOf(s);
    if (target !== undefined) {
      const set = uses.get(target) ?? new Set<string>();
      for (const e of exprsOf(s)) namesIn(e, set);
      uses.set(target, set);
    }
    if ((s.kind === "loop" && hasBarrier(s.body)) || (s.kind === "if" && (hasBarrier(s.then) || hasBarrier(s.else ?? []))))
      for (const e of exprsOf(s)) namesIn(e, roots);
  });
  for (const n of roots) for (const m of uses.get(n) ?? []) roots.add(m);
  return roots;
}

/** Whether any statement inside is executed by the whole workgroup together. */
export function hasBarrier(stmts: readonly Stmt[]): boolean {
  let found = false;
  eachStmt(stmts, (s) => { found ||= s.kind === "barrier" || s.kind === "lane_reduce" || (s.kind === "aload" && s.uniform === true); });
  return found;
}
