// What `routed` and `frozen` say of weights while they are made. In: what holds further out, and a branch. Out: what holds inside, and the
// path a weight would have without branches.

import type { Parameter } from "./parameter.ts";
import type { Branch, Making } from "./values.ts";

export const plainMaking: Making = { frozen: false, experts: [], alike: false };

/** What the weights of a branch have in common. */
export function branchMaking(outer: Making | undefined, path: string, b: Branch): Making {
  const making = outer ?? plainMaking;
  return { ...making, frozen: making.frozen || b.frozen, branch: { inside: `${path}.${b.name}`, outside: withoutBranches(making, path) } };
}

/** A path as it would be without branches. */
export function withoutBranches(making: Making | undefined, path: string): string {
  const b = making?.branch;
  return b && (path === b.inside || path.startsWith(`${b.inside}.`)) ? b.outside + path.slice(b.inside.length) : path;
}

/** Known once both are made. */
export function startFrom(p: Parameter, source: Parameter): void {
  (p as { from?: string }).from = source.path;
}
