// How evenly the experts were used while training. In: folders of runs (`heddle train -o`), or a thinned training.jsonl that holds several.
// Out: a table on the terminal, and on request a picture (--svg FILE) and the thinned file (--thin FILE).
//
//   node report.mjs runs/balanced runs/unbalanced --thin training.jsonl --svg load.svg
//   node report.mjs training.jsonl
//
// The load of a step is how many rows (tokens x choices) each expert of a layer got; max/mean is the fullest expert against the mean: 1 is
// even, the number of experts is everything to one. First and last are means of that over so many steps (--window, 100).

import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

/** Steps that one line of a thinned file stands for. */
const THIN = 10;
const mean = (list) => list.reduce((a, b) => a + b, 0) / Math.max(1, list.length);
const lines = (file) => readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line));
const round = (x, digits = 4) => Number(x.toFixed(digits));

/** Lines of one run, each the mean of `every` steps; loads are added up. */
export function thin(run, metrics, every = THIN) {
  const out = [];
  for (let at = 0; at < metrics.length; at += every) {
    const part = metrics.slice(at, at + every);
    const layers = (part[0].routing ?? []).map((r) => r.path);
    const of = (pick) => layers.map((_, l) => mean(part.map((m) => pick(m.routing[l]))));
    out.push({
      run, step: part.at(-1).step, steps: part.length, loss: round(mean(part.map((m) => m.loss))),
      terms: Object.fromEntries(Object.keys(part[0].terms).map((name) => [name, round(mean(part.map((m) => m.terms[name])), 5)])),
      tokens: part.reduce((n, m) => n + m.tokens, 0), seconds: round(part.reduce((n, m) => n + m.seconds, 0), 2),
      ...(layers.length === 0 ? {} : {
        layers, max_over_mean: of((r) => r.max_over_mean).map((x) => round(x, 3)), evenness: of((r) => r.evenness).map((x) => round(x, 4)),
        dropped: of((r) => r.dropped).map((x) => round(x, 4)),
        load: layers.map((_, l) => part[0].routing[l].load.map((_, e) => part.reduce((n, m) => n + m.routing[l].load[e], 0))),
      }),
    });
  }
  return out;
}

/** Runs by name, thinned. */
export function readRuns(places) {
  const runs = new Map();
  for (const place of places) {
    const folder = statSync(place).isDirectory();
    const file = folder ? path.join(place, "metrics.jsonl") : place;
    if (!existsSync(file)) throw new Error(`${place} has no metrics.jsonl`);
    const found = lines(file);
    if (folder) runs.set(path.basename(place), thin(path.basename(place), found));
    else for (const line of found) runs.set(line.run, [...(runs.get(line.run) ?? []), line]);
  }
  return runs;
}

/** Mean over lines, each by the steps it stands for, of a number or of a list by layer. */
function over(part, pick) {
  const weight = part.reduce((n, line) => n + line.steps, 0);
  const [first] = part.map(pick);
  const sum = (f) => part.reduce((n, line) => n + f(line) * line.steps, 0) / weight;
  return Array.isArray(first) ? first.map((_, l) => sum((line) => pick(line)[l])) : sum(pick);
}

/** What the table says of a run: the first and the last steps. */
export function summary(run, window = 100) {
  const last = run.at(-1).step;
  const [head, tail] = [run.filter((line) => line.step <= window), run.filter((line) => line.step > last - window)];
  const text = (line) => Object.entries(line.terms).find(([name]) => name.startsWith("next_token"))?.[1] ?? line.loss;
  return {
    steps: last, minutes: run.reduce((n, line) => n + line.seconds, 0) / 60, tokens: run.reduce((n, line) => n + line.tokens, 0),
    loss: { first: over(head, text), last: over(tail, text) },
    ...(run[0].layers ? { layers: run[0].layers, load: { first: over(head, (line) => line.max_over_mean), last: over(tail, (line) => line.max_over_mean) }, most: run[0].layers.map((_, l) => Math.max(...run.map((line) => line.max_over_mean[l]))) } : {}),
  };
}

function table(runs, window) {
  const out = [`means over the first and the last ${window} steps`];
  for (const [name, run] of runs) {
    const s = summary(run, window);
    out.push("", `${name}: ${s.steps} steps, ${s.tokens.toLocaleString("en")} tokens, ${s.minutes.toFixed(1)} minutes; next-token loss ${s.loss.first.toFixed(3)} -> ${s.loss.last.toFixed(3)}`);
    if (!s.layers) continue;
    out.push("  max/mean load   first    last    highest");
    s.layers.forEach((layer, l) => out.push(`  ${layer.padEnd(14)} ${s.load.first[l].toFixed(2).padStart(6)} ${s.load.last[l].toFixed(2).padStart(7)} ${s.most[l].toFixed(2).padStart(9)}`));
    out.push(`  ${"mean".padEnd(14)} ${mean(s.load.first).toFixed(2).padStart(6)} ${mean(s.load.last).toFixed(2).padStart(7)}`);
  }
  return out.join("\n");
}

// ---------------------------------------------------------------- the picture

const COLOURS = ["#c0392b", "#2166ac", "#1b7837", "#8e44ad", "#b35806"];

/** Max/mean load over steps: a panel a run, a line a layer, all on one scale. */
export function picture(runs, { width = 300, height = 190 } = {}) {
  const routed = [...runs].filter(([, run]) => run[0].layers);
  if (routed.length === 0) throw new Error("no run has routed layers");
  const [left, top, gap, bottom] = [44, 34, 22, 46];
  const steps = Math.max(...routed.map(([, run]) => run.at(-1).step));
  const high = Math.ceil(2 * Math.max(2, ...routed.flatMap(([, run]) => run.flatMap((line) => line.max_over_mean)))) / 2;
  const x = (step) => (step / steps) * width;
  const y = (v) => height - ((v - 1) / (high - 1)) * height;
  const tick = high > 4 ? 1 : 0.5;
  const panels = routed.map(([name, run], i) => {
    const grid = [];
    for (let v = 1; v <= high + 1e-9; v += tick) grid.push(`<path d="M0 ${y(v).toFixed(1)}H${width}" stroke="#ddd"/>${i === 0 ? `<text x="-6" y="${(y(v) + 4).toFixed(1)}" text-anchor="end">${v}</text>` : ""}`);
    const each = 10 ** Math.floor(Math.log10(steps)) * (steps / 10 ** Math.floor(Math.log10(steps)) > 5 ? 2 : steps / 10 ** Math.floor(Math.log10(steps)) > 2 ? 1 : 0.5);
    for (let s = 0; s <= steps; s += each) grid.push(`<text x="${x(s).toFixed(1)}" y="${height + 16}" text-anchor="middle">${s}</text>`);
    const curves = run[0].layers.map((_, l) => `<path fill="none" stroke="${COLOURS[l % COLOURS.length]}" stroke-width="1.4" d="${run.map((line, n) => `${n === 0 ? "M" : "L"}${x(line.step).toFixed(1)} ${y(line.max_over_mean[l]).toFixed(1)}`).join("")}"/>`);
    return `<g transform="translate(${left + i * (width + gap)} ${top})"><text x="0" y="-10" font-weight="bold">${name}</text>${grid.join("")}${curves.join("")}</g>`;
  });
  const total = left + routed.length * (width + gap);
  const legend = routed[0][1][0].layers.map((layer, l) => `<path d="M${left + l * 110} ${top + height + 34}h18" stroke="${COLOURS[l % COLOURS.length]}" stroke-width="2"/><text x="${left + l * 110 + 24}" y="${top + height + 38}">${layer}</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${total}" height="${top + height + bottom}" font-family="sans-serif" font-size="11" fill="#222">\n<rect width="100%" height="100%" fill="#fff"/>\n<text x="${left}" y="12">fullest expert / mean load, by training step</text>\n${panels.join("\n")}\n${legend.join("")}\n</svg>\n`;
}

if (process.argv[1] && path.resolve(process.argv[1]) === import.meta.filename) {
  const { values: options, positionals } = parseArgs({ allowPositionals: true, options: { window: { type: "string", default: "100" }, svg: { type: "string" }, thin: { type: "string" } } });
  if (positionals.length === 0) throw new Error("name folders of runs, or a thinned training.jsonl");
  const runs = readRuns(positionals);
  console.log(table(runs, Number(options.window)));
  if (options.thin) writeFileSync(options.thin, [...runs.values()].flat().map((line) => `${JSON.stringify(line)}\n`).join(""));
  if (options.svg) writeFileSync(options.svg, picture(runs));
}
