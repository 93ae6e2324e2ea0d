// Integer expressions in a plan: sizes, grids and counts over run-time lengths, as plain JSON. Imports nothing.

export type IntExpr =
  | number
  | string // a length
  | { readonly op: "+" | "-" | "*" | "/" | "%" | "min" | "max"; readonly a: IntExpr; readonly b: IntExpr };

/** Value under the lengths; `/` floors. Throws RangeError naming the length that is missing. */
export function evalInt(e: IntExpr, lengths: Readonly<Record<string, number>>): number {
  if (typeof e === "number") return e;
  if (typeof e === "string") {
    const v = lengths[e];
    if (v === undefined) throw new RangeError(`length \`${e}\` is not given`);
    return v;
  }
  const a = evalInt(e.a, lengths);
  const b = evalInt(e.b, lengths);
  switch (e.op) {
    case "+": return a + b;
    case "-": return a - b;
    case "*": return a * b;
    case "/": return Math.floor(a / b);
    case "%": return a % b;
    case "min": return Math.min(a, b);
    case "max": return Math.max(a, b);
  }
}
