// Rules about rows in classes.

import { dimValue } from "../../dim/dim.ts";
import type { RewriteRule } from "../rewrite.ts";
import { rule } from "../rewrite.ts";

export const grouped: readonly RewriteRule[] = [
  rule("slice_of_grouped_dw", "exact", ["slice"], ({ m, node, arg }) => {
    // Gradients of a part of the classes are summed over the rows of those alone: a branch that is not trained costs nothing.
    const x = arg(0);
    const { axis, start, size } = node.attrs;
    const from = dimValue(start);
    if (x.op !== "grouped_dw" || x.attrs.classes.name !== axis || from === undefined) return undefined;
    return m.op("grouped_dw", x.args, { ...x.attrs, classes: { name: axis, size }, first: x.attrs.first + from });
  }),
];
