// The plain decoder of the benchmark in double precision, written out by hand: forward, loss, every gradient, AdamW.
// In:  weights by name (from `decoderWeights`, or anyone's), tokens. Out: logits [t, vocab], loss, gradients, new weights.
// It is the judge of every contender, so it is plain loops and shares no code with any of them.
//
// The decoder, and how it comes to 544,256 parameters at width 128, 2 layers, 4 heads, inner 512, 128 tokens, vocabulary 512:
//   token table 512 x 128, learned positions 128 x 128                                         65,536 + 16,384
//   each layer: LayerNorm (weight, bias), q|k|v 128 x 384 with bias, output 128 x 128 with bias,
//               LayerNorm (weight, bias), up 128 x 512 with bias, GELU (tanh form), down 512 x 128 with bias   2 x 198,272
//   final LayerNorm (weight, bias)                                                             256
//   head 128 x 512, untied and without bias                                                    65,536
// Matrices are stored [in, out], row-major, and applied as x W + b. Heads are consecutive runs of columns within q, k and v.
// Loss: mean over the 128 positions of the cross entropy of the next token. Optimizer: AdamW, decay on matrices only (not the two tables).

/**
 * @typedef {object} DecoderShape
 * @property {number} layers @property {number} width @property {number} heads @property {number} inner
 * @property {number} tokens @property {number} vocab
 *
 * @typedef {Record<string, Float32Array | Float64Array>} Weights by the names of `decoderLayout`
 *
 * @typedef {object} AdamW
 * @property {number} rate @property {number} beta1 @property {number} beta2 @property {number} epsilon @property {number} decay
 */

/** The benchmark's decoder. @type {DecoderShape} */
export const SHAPE = { layers: 2, width: 128, heads: 4, inner: 512, tokens: 128, vocab: 512 };
export const PARAMETERS = 544_256;
/** @type {AdamW} */
export const OPTIMIZER = { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.01 };
export const NORM_EPSILON = 1e-5;

/**
 * Every tensor in order, with its shape. Names: `tok`, `pos`, then for each layer `l0.norm1.weight`, `l0.norm1.bias`,
 * `l0.qkv.weight`, `l0.qkv.bias`, `l0.out.weight`, `l0.out.bias`, `l0.norm2.*`, `l0.up.*`, `l0.down.*`, then `norm.*`, `head`.
 * @param {DecoderShape} [shape]
 * @returns {{ name: string, shape: number[], size: number }[]}
 */
export function decoderLayout(shape = SHAPE) {
  const { layers, width: d, inner, tokens, vocab } = shape;
  /** @type {[string, number[]][]} */
  const tensors = [["tok", [vocab, d]], ["pos", [tokens, d]]];
  for (let l = 0; l < layers; l++) {
    tensors.push([`l${l}.norm1.weight`, [d]], [`l${l}.norm1.bias`, [d]]);
    tensors.push([`l${l}.qkv.weight`, [d, 3 * d]], [`l${l}.qkv.bias`, [3 * d]]);
    tensors.push([`l${l}.out.weight`, [d, d]], [`l${l}.out.bias`, [d]]);
    tensors.push([`l${l}.norm2.weight`, [d]], [`l${l}.norm2.bias`, [d]]);
    tensors.push([`l${l}.up.weight`, [d, inner]], [`l${l}.up.bias`, [inner]]);
    tensors.push([`l${l}.down.weight`, [inner, d]], [`l${l}.down.bias`, [d]]);
  }
  tensors.push(["norm.weight", [d]], ["norm.bias", [d]], ["head", [d, vocab]]);
  return tensors.map(([name, dims]) => ({ name, shape: dims, size: dims.reduce((a, b) => a * b, 1) }));
}

/** Uniform in (0, 1), a hash of (seed, stream, index); integer arithmetic only, so the same on every machine. */
function uniform(seed, stream, index) {
  let x = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b) ^ index) >>> 0;
  for (let round = 0; round < 2; round++) {
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  }
  return ((x ^ (x >>> 16)) >>> 0) / 4294967296 + 1 / 8589934592;
}

/**
 * Seeded weights, of a size that makes every part of the decoder matter (attention far from uniform, logits of order one).
 * @param {number} seed @param {DecoderShape} [shape]
 * @returns {Record<string, Float32Array>}
 */
export function decoderWeights(seed, shape = SHAPE) {
  return Object.fromEntries(decoderLayout(shape).map(({ name, shape: dims, size }, stream) => {
    const centre = /norm\d?\.weight$/.test(name) ? 1 : 0;
    const deviation = name === "tok" ? 0.7 : name === "pos" ? 0.3 : dims.length === 1 ? 0.1 : 1 / Math.sqrt(dims[0]);
    const width = Math.sqrt(12) * deviation;
    return [name, Float32Array.from({ length: size }, (_, i) => centre + width * (uniform(seed, stream, i) - 0.5))];
  }));
}

/** `tokens + 1` seeded token ids: the inputs are all but the last, the targets all but the first. */
export function decoderTokens(seed, shape = SHAPE) {
  return Int32Array.from({ length: shape.tokens + 1 }, (_, i) => Math.floor(uniform(seed, 1000, i) * shape.vocab));
}

const f64 = (/** @type {number} */ n) => new Float64Array(n);

/** y[t, out] = x[t, in] w[in, out] + b. */
function linear(x, w, b, t, inputs, outputs) {
  const y = f64(t * outputs);
  for (let i = 0; i < t; i++) {
    const row = y.subarray(i * outputs, (i + 1) * outputs);
    if (b !== undefined) row.set(b);
    for (let p = 0; p < inputs; p++) {
      const value = x[i * inputs + p], from = p * outputs;
      for (let j = 0; j < outputs; j++) row[j] += value * w[from + j];
    }
  }
  return y;
}

/** Adds the gradients of `linear` to dw and db; returns that of x. */
function linearBack(dy, x, w, dw, db, t, inputs, outputs) {
  const dx = f64(t * inputs);
  for (let i = 0; i < t; i++) {
    const row = dy.subarray(i * outputs, (i + 1) * outputs);
    if (db !== undefined) for (let j = 0; j < outputs; j++) db[j] += row[j];
    for (let p = 0; p < inputs; p++) {
      const value = x[i * inputs + p], from = p * outputs;
      let sum = 0;
      for (let j = 0; j < outputs; j++) {
        sum += row[j] * w[from + j];
        dw[from + j] += value * row[j];
      }
      dx[i * inputs + p] = sum;
    }
  }
  return dx;
}

function layerNorm(x, weight, bias, t, d) {
  const y = f64(t * d), unit = f64(t * d), inverse = f64(t);
  for (let i = 0; i < t; i++) {
    let mean = 0, square = 0;
    for (let j = 0; j < d; j++) mean += x[i * d + j] / d;
    for (let j = 0; j < d; j++) square += (x[i * d + j] - mean) ** 2 / d;
    inverse[i] = 1 / Math.sqrt(square + NORM_EPSILON);
    for (let j = 0; j < d; j++) {
      unit[i * d + j] = (x[i * d + j] - mean) * inverse[i];
      y[i * d + j] = unit[i * d + j] * weight[j] + bias[j];
    }
  }
  return { y, unit, inverse };
}

function layerNormBack(dy, { unit, inverse }, weight, dWeight, dBias, t, d) {
  const dx = f64(t * d);
  for (let i = 0; i < t; i++) {
    let mean = 0, along = 0;
    for (let j = 0; j < d; j++) {
      const at = i * d + j, g = dy[at] * weight[j];
      dWeight[j] += dy[at] * unit[at];
      dBias[j] += dy[at];
      mean += g / d;
      along += (g * unit[at]) / d;
    }
    for (let j = 0; j < d; j++) {
      const at = i * d + j;
      dx[at] = inverse[i] * (dy[at] * weight[j] - mean - unit[at] * along);
    }
  }
  return dx;
}

const SLOPE = Math.sqrt(2 / Math.PI), CUBE = 0.044715;
const gelu = (/** @type {number} */ x) => 0.5 * x * (1 + Math.tanh(SLOPE * (x + CUBE * x ** 3)));
const geluSlope = (/** @type {number} */ x) => {
  const th = Math.tanh(SLOPE * (x + CUBE * x ** 3));
  return 0.5 * (1 + th) + 0.5 * x * (1 - th * th) * SLOPE * (1 + 3 * CUBE * x * x);
};

/** Causal attention; `qkv` is [t, 3 d]. Keeps the probabilities [head, t, t] for the way back. */
function attention(qkv, t, d, heads) {
  const size = d / heads, scale = 1 / Math.sqrt(size);
  const y = f64(t * d), weights = f64(heads * t * t);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < t; i++) {
      const row = weights.subarray((h * t + i) * t, (h * t + i) * t + i + 1);
      let top = -Infinity, sum = 0;
      for (let j = 0; j <= i; j++) {
        let score = 0;
        for (let p = 0; p < size; p++) score += qkv[i * 3 * d + h * size + p] * qkv[j * 3 * d + d + h * size + p];
        row[j] = score * scale;
        top = Math.max(top, row[j]);
      }
      for (let j = 0; j <= i; j++) sum += row[j] = Math.exp(row[j] - top);
      for (let j = 0; j <= i; j++) {
        row[j] /= sum;
        for (let p = 0; p < size; p++) y[i * d + h * size + p] += row[j] * qkv[j * 3 * d + 2 * d + h * size + p];
      }
    }
  }
  return { y, weights };
}

function attentionBack(dy, weights, qkv, t, d, heads) {
  const size = d / heads, scale = 1 / Math.sqrt(size);
  const dQkv = f64(t * 3 * d), dWeight = f64(t);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < t; i++) {
      const row = weights.subarray((h * t + i) * t, (h * t + i) * t + i + 1);
      let mean = 0;
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let p = 0; p < size; p++) {
          const g = dy[i * d + h * size + p], at = j * 3 * d + 2 * d + h * size + p;
          sum += g * qkv[at];
          dQkv[at] += row[j] * g;
        }
        dWeight[j] = sum;
        mean += sum * row[j];
      }
      for (let j = 0; j <= i; j++) {
        const dScore = row[j] * (dWeight[j] - mean) * scale;
        for (let p = 0; p < size; p++) {
          const q = i * 3 * d + h * size + p, k = j * 3 * d + d + h * size + p;
          dQkv[q] += dScore * qkv[k];
          dQkv[k] += dScore * qkv[q];
        }
      }
    }
  }
  return dQkv;
}

const sum = (/** @type {Float64Array} */ a, /** @type {Float64Array} */ b) => a.map((value, i) => value + b[i]);

/**
 * Logits of every position, and what the way back needs.
 * @param {Weights} w @param {ArrayLike<number>} ids tokens or tokens + 1 of them
 * @param {DecoderShape} [shape]
 */
export function forward(w, ids, shape = SHAPE) {
  const { layers, width: d, heads, inner, tokens: t, vocab } = shape;
  let x = f64(t * d);
  for (let i = 0; i < t; i++) for (let j = 0; j < d; j++) x[i * d + j] = w.tok[ids[i] * d + j] + w.pos[i * d + j];
  const kept = [];
  for (let l = 0; l < layers; l++) {
    const norm1 = layerNorm(x, w[`l${l}.norm1.weight`], w[`l${l}.norm1.bias`], t, d);
    const qkv = linear(norm1.y, w[`l${l}.qkv.weight`], w[`l${l}.qkv.bias`], t, d, 3 * d);
    const mixed = attention(qkv, t, d, heads);
    x = sum(x, linear(mixed.y, w[`l${l}.out.weight`], w[`l${l}.out.bias`], t, d, d));
    const norm2 = layerNorm(x, w[`l${l}.norm2.weight`], w[`l${l}.norm2.bias`], t, d);
    const up = linear(norm2.y, w[`l${l}.up.weight`], w[`l${l}.up.bias`], t, d, inner);
    const active = up.map(gelu);
    x = sum(x, linear(active, w[`l${l}.down.weight`], w[`l${l}.down.bias`], t, inner, d));
    kept.push({ norm1, qkv, mixed, norm2, up, active });
  }
  const norm = layerNorm(x, w["norm.weight"], w["norm.bias"], t, d);
  return { logits: linear(norm.y, w.head, undefined, t, d, vocab), norm, kept };
}

/**
 * Mean cross entropy of the next token and the gradient of every tensor.
 * @param {Weights} w @param {ArrayLike<number>} ids tokens + 1 of them
 * @param {DecoderShape} [shape]
 * @returns {{ logits: Float64Array, loss: number, gradients: Record<string, Float64Array> }}
 */
export function lossAndGradients(w, ids, shape = SHAPE) {
  const { layers, width: d, heads, inner, tokens: t, vocab } = shape;
  const { logits, norm, kept } = forward(w, ids, shape);
  /** @type {Record<string, Float64Array>} */
  const g = Object.fromEntries(decoderLayout(shape).map(({ name, size }) => [name, f64(size)]));
  const dLogits = f64(t * vocab);
  let loss = 0;
  for (let i = 0; i < t; i++) {
    const row = logits.subarray(i * vocab, (i + 1) * vocab);
    const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = top + Math.log(row.reduce((a, b) => a + Math.exp(b - top), 0));
    loss += (total - row[ids[i + 1]]) / t;
    for (let j = 0; j < vocab; j++) dLogits[i * vocab + j] = (Math.exp(row[j] - total) - (j === ids[i + 1] ? 1 : 0)) / t;
  }
  const dNorm = linearBack(dLogits, norm.y, w.head, g.head, undefined, t, d, vocab);
  let dx = layerNormBack(dNorm, norm, w["norm.weight"], g["norm.weight"], g["norm.bias"], t, d);
  for (let l = layers - 1; l >= 0; l--) {
    const { norm1, qkv, mixed, norm2, up, active } = kept[l];
    const at = (/** @type {string} */ name) => `l${l}.${name}`;
    const back = (dy, x, name, inputs, outputs) =>
      linearBack(dy, x, w[at(`${name}.weight`)], g[at(`${name}.weight`)], g[at(`${name}.bias`)], t, inputs, outputs);
    const normBack = (dy, norm, name) =>
      layerNormBack(dy, norm, w[at(`${name}.weight`)], g[at(`${name}.weight`)], g[at(`${name}.bias`)], t, d);
    const dUp = back(dx, active, "down", inner, d).map((value, i) => value * geluSlope(up[i]));
    dx = sum(dx, normBack(back(dUp, norm2.y, "up", d, inner), norm2, "norm2"));
    const dQkv = attentionBack(back(dx, mixed.y, "out", d, d), mixed.weights, qkv, t, d, heads);
    dx = sum(dx, normBack(back(dQkv, norm1.y, "qkv", d, 3 * d), norm1, "norm1"));
  }
  for (let i = 0; i < t; i++) {
    for (let j = 0; j < d; j++) {
      g.tok[ids[i] * d + j] += dx[i * d + j];
      g.pos[i * d + j] += dx[i * d + j];
    }
  }
  return { logits, loss, gradients: g };
}

/** Whether AdamW decays a tensor: the matrices of the layers and the head; not the tables, biases and norms. @param {string} name */
export const isDecayed = (name) => name === "head" || (name.endsWith(".weight") && !/norm\d?\.weight$/.test(name));

/**
 * `steps` training steps on the same tokens from zero moments: the losses before each, the gradients of the first, and the
 * weights after the last.
 * @param {Weights} weights @param {ArrayLike<number>} ids @param {number} steps
 * @param {{ shape?: DecoderShape, optimizer?: AdamW, decayed?: (name: string) => boolean }} [options]
 */
export function train(weights, ids, steps, options = {}) {
  const { shape = SHAPE, optimizer = OPTIMIZER, decayed = isDecayed } = options;
  const { rate, beta1, beta2, epsilon, decay } = optimizer;
  const w = Object.fromEntries(Object.entries(weights).map(([name, values]) => [name, Float64Array.from(values)]));
  const m = Object.fromEntries(Object.entries(w).map(([name, values]) => [name, f64(values.length)]));
  const v = Object.fromEntries(Object.entries(w).map(([name, values]) => [name, f64(values.length)]));
  const losses = [];
  let first;
  for (let step = 1; step <= steps; step++) {
    const { loss, gradients } = lossAndGradients(w, ids, shape);
    losses.push(loss);
    first ??= gradients;
    for (const [name, values] of Object.entries(w)) {
      const g = gradients[name], lambda = decayed(name) ? decay : 0;
      for (let i = 0; i < values.length; i++) {
        m[name][i] = beta1 * m[name][i] + (1 - beta1) * g[i];
        v[name][i] = beta2 * v[name][i] + (1 - beta2) * g[i] * g[i];
        const direction = m[name][i] / (1 - beta1 ** step) / (Math.sqrt(v[name][i] / (1 - beta2 ** step)) + epsilon);
        values[i] -= rate * (direction + lambda * values[i]);
      }
    }
  }
  return { losses, gradients: first, weights: w };
}
