// The cells of all contenders as tables in Markdown. In: reports (problem.mjs), what each mask skips, the clock to show.
// Out: text. Times of others stand as multiples of ours, so that more than 1 means that ours is faster.

/** @typedef {import("./problem.mjs").Cell} Cell */

const TITLES = { forward: "Forward", both: "Forward and backward" };
const percent = (/** @type {number} */ x) => `${(100 * x).toFixed(0)}%`;
const row = (/** @type {string[]} */ cells) => `| ${cells.join(" | ")} |`;
const table = (/** @type {string[]} */ head, /** @type {string[][]} */ rows) => [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");

/** Right in single precision. */
export const BOUND = 1e-4;

/**
 * Rounds as one: the median of the medians, the lower of two.
 * @param {Cell[]} cells
 */
export function mergedCells(cells) {
  /** @type {Map<string, Cell[]>} */
  const groups = new Map();
  for (const c of cells) {
    const key = [c.contender, c.mask, c.t, c.pass].join(" ");
    groups.set(key, [...(groups.get(key) ?? []), c]);
  }
  return [...groups.values()].map((list) => {
    const timed = list.filter((c) => c.median !== undefined);
    if (timed.length === 0) return list[0];
    const middle = (key) => timed.map((c) => c[key]).sort((a, b) => a - b)[Math.floor((timed.length - 1) / 2)];
    const worst = timed.map((c) => c.error).reduce((a, b) => (Number.isNaN(a) || a > b ? a : b));
    return { ...timed[0], median: middle("median"), cpu: middle("cpu"), runs: timed.reduce((n, c) => n + c.runs, 0), error: worst };
  });
}

/**
 * @param {{ cells: Cell[], masks: string[], titles: Record<string, string>, skipped: (mask: string, t: number) => { pairs: number, tiles: number, full: number }, clock: "median" | "cpu" }} given
 */
export function attentionTables({ cells, masks, titles, skipped, clock }) {
  const lengths = [...new Set(cells.map((c) => c.t))].sort((a, b) => a - b);
  const passes = ["forward", "both"].filter((p) => cells.some((c) => c.pass === p));
  const find = (contender, mask, t, pass) => cells.find((c) => c.contender === contender && c.t === t && c.pass === pass && (c.mask === mask || c.mask === "any"));
  const unit = clock === "cpu" ? "ms of processor time" : "ms";
  const tracked = [];
  let text = "";
  for (const pass of passes) {
    const rows = masks.flatMap((mask) => lengths.flatMap((t) => {
      const ours = find("heddle", mask, t, pass), full = find("heddle", "none", t, pass);
      const { pairs, tiles } = skipped(mask, t);
      const time = ours?.[clock];
      const ratio = (contender) => {
        const c = find(contender, mask, t, pass);
        return c === undefined ? "" : c[clock] === undefined || time === undefined ? c.why ?? "" : (c[clock] / time).toFixed(1);
      };
      if (time === undefined) return [[titles[mask], String(t), percent(pairs), percent(tiles), ours?.why ?? "", "", "", ...["bias", "jax-js", "tfjs"].map(() => "")]];
      const saved = full?.[clock] === undefined ? undefined : 1 - time / full[clock];
      if (saved !== undefined && tiles > 0) tracked.push(saved / tiles);
      return [[
        titles[mask], String(t), percent(pairs), percent(tiles), time.toFixed(1), saved === undefined ? "" : (1 / (1 - saved)).toFixed(2),
        saved === undefined || tiles === 0 ? "" : (saved / tiles).toFixed(2), ratio("bias"), ratio("jax-js"), ratio("tfjs"),
      ]];
    }));
    text += `### ${TITLES[pass]}\n\n${table(["mask", "tokens", "pairs hidden", "tiles skipped", unit, "times faster than without a mask", "time saved / tiles skipped", "dense with bias, ours = 1", "jax-js, ours = 1", "tfjs, ours = 1"], rows)}\n\n`;
  }
  if (tracked.length > 0) {
    const sorted = [...tracked].sort((a, b) => a - b);
    text += `Time saved / tiles skipped: median ${sorted[Math.floor(sorted.length / 2)].toFixed(2)}, least ${sorted[0].toFixed(2)}; at least 0.8 in ${tracked.filter((x) => x >= 0.8).length} of ${tracked.length}.\n\n`;
  }
  const contenders = [["heddle", "with a mask"], ["heddle", "none"], ["bias", "any"], ["jax-js", "any"], ["tfjs", "any"]];
  const most = (contender, kind, t, pass) => {
    const peaks = cells.filter((c) => c.contender === contender && c.t === t && c.pass === pass && c.peak !== undefined && (contender !== "heddle" || (c.mask === "none") === (kind === "none"))).map((c) => c.peak);
    return peaks.length === 0 ? undefined : Math.max(...peaks);
  };
  const bytes = passes.flatMap((pass) => lengths.map((t) => {
    const ours = most("heddle", "with a mask", t, pass);
    return [TITLES[pass].toLowerCase(), String(t), ...contenders.map(([c, kind]) => {
      const peak = most(c, kind, t, pass);
      return peak === undefined ? "" : `${(peak / 1e6).toFixed(2)}${ours === undefined || (c === "heddle" && kind !== "none") ? "" : ` (${(peak / ours).toFixed(1)})`}`;
    })];
  }));
  text += `### Bytes\n\nMost bytes of buffers that lived at once, in MB, inputs, results and staging included; in brackets, ours = 1.\n\n${table(["", "tokens", "ours with a mask", "ours without", "dense with bias", "jax-js", "tfjs"], bytes)}\n\n`;
  const judged = cells.filter((c) => c.error !== undefined);
  const wrong = judged.filter((c) => !(c.error <= BOUND));
  text += `Against double precision, ${judged.length} results: ${wrong.length === 0 ? `all right, the largest error ${Math.max(0, ...judged.map((c) => c.error)).toExponential(1)} (at most ${BOUND.toExponential(0)})` : `**${wrong.length} wrong**: ${wrong.map((c) => `${c.contender} ${c.mask} ${c.t} ${c.pass} ${c.error}`).join("; ")}`}.\n`;
  return { text, wrong: wrong.length };
}
