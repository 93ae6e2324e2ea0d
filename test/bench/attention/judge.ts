// Attention in double precision for the benchmark: all of it where that is quick, else some rows of `out` and `dq`, and two sums
// that tie `dk` and `dv` to what was checked. In: the problem and a contender's results, [t, heads, width] each. Out: the
// largest error, relative to 1 + the largest of its tensor.

export interface Problem {
  readonly t: number;
  readonly heads: number;
  readonly width: number;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly dout: Float32Array;
  /** 1 where i sees j, [t, t]. */
  readonly visible: Uint8Array;
}

export type Results = Readonly<Partial<Record<"out" | "dq" | "dk" | "dv", Float32Array>>>;

/** Rows that are looked at where not all are. */
const SOME = 24;
const WHOLE = 512;

const at = (a: ArrayLike<number>, i: number): number => a[i] as number;

export function judge(p: Problem, got: Results): number {
  const { t, heads, width } = p;
  const whole = t <= WHOLE;
  const rows = whole ? Array.from({ length: t }, (_, i) => i) : Array.from({ length: SOME }, (_, n) => Math.floor((n * (t - 1)) / (SOME - 1)));
  const place = (i: number, h: number): number => (i * heads + h) * width;
  const [dk, dv] = [new Float64Array(whole ? t * heads * width : 0), new Float64Array(whole ? t * heads * width : 0)];
  const wrong: Record<string, { error: number; scale: number }> = {};
  const compare = (name: keyof Results, want: Float64Array, from: number): void => {
    const mine = got[name];
    const w = (wrong[name] ??= { error: 0, scale: 0 });
    if (!mine || mine.length !== t * heads * width) { w.error = Number.NaN; return; }
    want.forEach((x, i) => {
      const d = Math.abs(at(mine, from + i) - x);
      w.error = Number.isNaN(d) || d > w.error ? d : w.error;
      w.scale = Math.max(w.scale, Math.abs(x));
    });
  };
  const weights = new Float64Array(t);
  for (let h = 0; h < heads; h++) for (const i of rows) {
    const q0 = place(i, h);
    let top = -Infinity;
    for (let j = 0; j < t; j++) {
      let s = 0;
      if (at(p.visible, i * t + j) === 0) { weights[j] = -Infinity; continue; }
      for (let c = 0, k0 = place(j, h); c < width; c++) s += at(p.q, q0 + c) * at(p.k, k0 + c);
      weights[j] = s / Math.sqrt(width);
      top = Math.max(top, at(weights, j));
    }
    let mass = 0;
    for (let j = 0; j < t; j++) mass += weights[j] = Math.exp(at(weights, j) - top);
    const [out, dq] = [new Float64Array(width), new Float64Array(width)];
    for (let j = 0; j < t; j++) {
      const w = weights[j] = at(weights, j) / mass;
      if (w !== 0) for (let c = 0, v0 = place(j, h); c < width; c++) out[c] = at(out, c) + w * at(p.v, v0 + c);
    }
    if (got.out) compare("out", out, q0);
    if (!got.dq) continue;
    let delta = 0;
    for (let c = 0; c < width; c++) delta += at(out, c) * at(p.dout, q0 + c);
    for (let j = 0; j < t; j++) {
      const w = at(weights, j), j0 = place(j, h);
      if (w === 0) continue;
      let gain = 0;
      for (let c = 0; c < width; c++) gain += at(p.dout, q0 + c) * at(p.v, j0 + c);
      const slope = (w * (gain - delta)) / Math.sqrt(width);
      for (let c = 0; c < width; c++) {
        dq[c] = at(dq, c) + slope * at(p.k, j0 + c);
        if (!whole) continue;
        dk[j0 + c] = at(dk, j0 + c) + slope * at(p.q, q0 + c);
        dv[j0 + c] = at(dv, j0 + c) + w * at(p.dout, q0 + c);
      }
    }
    compare("dq", dq, q0);
  }
  if (got.dk && whole) compare("dk", dk, 0);
  if (got.dv && whole) compare("dv", dv, 0);
  const errors = Object.values(wrong).map(({ error, scale }) => error / (1 + scale));
  if (!whole) errors.push(...ties(p, got));
  return errors.reduce((a, b) => (Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.max(a, b)), 0);
}

/** sum k . dk = sum q . dq, since a logit is a product of both; and the weights of a row are 1 together, so dv sums to dout. */
function ties({ t, heads, width, q, k, dout }: Problem, { dq, dk, dv }: Results): number[] {
  if (!dq || !dk || !dv) return [];
  let [left, right, size] = [0, 0, 1];
  const sums = new Float64Array(heads * width), wants = new Float64Array(heads * width);
  for (let i = 0; i < t * heads * width; i++) {
    left += at(k, i) * at(dk, i);
    right += at(q, i) * at(dq, i);
    size += Math.abs(at(q, i) * at(dq, i));
    const c = i % (heads * width);
    sums[c] = at(sums, c) + at(dv, i);
    wants[c] = at(wants, c) + at(dout, i);
  }
  return [Math.abs(left - right) / size, ...sums.map((x, c) => Math.abs(x - at(wants, c)) / Math.sqrt(t))];
}
