// The cells of bench:moe as a table in Markdown. Times stand beside those of the dense network, whose work on a token is the same.

const row = (/** @type {string[]} */ cells) => `| ${cells.join(" | ")} |`;
const mega = (/** @type {number} */ n) => (n / 1e6).toFixed(2);

/**
 * @typedef {object} Cell
 * @property {number} experts 0: dense @property {boolean} skewed all rows on two experts @property {boolean} backward
 * @property {number} dispatches @property {number} bytes each operand of each dispatch once @property {number} least bytes that must move
 * @property {number} median milliseconds @property {number} cpu milliseconds of processor time, all threads together @property {number} runs
 * @property {number} [error] against double precision
 */

/** @param {{ cells: Cell[], adapter: string, version: string, shape: { tokens: number, width: number, hidden: number }, choices: number, bound: number }} given */
export function moeTable({ cells, adapter, version, shape, choices, bound }) {
  const lines = [];
  for (const backward of [false, true]) {
    const list = cells.filter((c) => c.backward === backward);
    const dense = list.find((c) => c.experts === 0);
    lines.push(backward ? "### Forward and backward" : "### Forward", "", row(["", "dispatches", "ms", "dense = 1", "processor ms", "dense = 1", "MB moved", "least MB", "moved / least", ...(backward ? [] : ["error"])]));
    lines.push(row(Array.from({ length: backward ? 9 : 10 }, () => "---")));
    for (const c of list) lines.push(row([
      c.experts === 0 ? "dense" : `${c.experts} experts${c.skewed ? ", all rows on two" : ""}`, String(c.dispatches),
      c.median.toFixed(1), (c.median / dense.median).toFixed(2), c.cpu.toFixed(1), (c.cpu / dense.cpu).toFixed(2),
      mega(c.bytes), mega(c.least), (c.bytes / c.least).toFixed(2), ...(backward ? [] : [c.error.toExponential(1)]),
    ]));
    lines.push("");
  }
  const runs = cells[0].runs;
  return `Adapter: ${adapter}. Heddle ${version}. ${shape.tokens} tokens of width ${shape.width}, experts of hidden width ${shape.hidden}, ${choices} a token;
dense: hidden width ${choices * shape.hidden}. The router is in the times of the experts, not in those of the dense network. Medians of ${runs} runs taken in turn; error at most ${bound}.

${lines.join("\n")}`;
}
