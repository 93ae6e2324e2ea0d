// The independent judge of drawn digits: a small convolutional network in plain JavaScript, on one core, no GPU.
// In:  images of 28 x 28 values in [0, 1] and their labels (the training split only). Out: a classifier with `predict`.
// It shares nothing with Heddle: its own arithmetic (double precision), its own hashed random numbers, its own optimizer.
// conv 5x5/2 -> relu -> conv 5x5/2 -> relu -> linear, trained by Adam on shifted, turned, sheared, noisy copies, so that it
// judges the shape of a digit and not the exact greys of a scan. Same seed, same classifier.

const SIDE = 28;
const PIXELS = SIDE * SIDE;
const CLASSES = 10;
const WINDOW = 5;
const STRIDE = 2;
const SIDE1 = 12; // (28 - 5) / 2 + 1
const SIDE2 = 4; // (12 - 5) / 2 + 1

/** A drawing is judged by the mean of these views, each moved by so many pixels. */
const VIEWS = [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]];

/**
 * @typedef {object} TrainOptions
 * @property {number} [epochs] passes over the images; 12 unless told
 * @property {number} [seed]
 * @property {number} [batch] images in a step
 * @property {(done: number, total: number, loss: number) => void} [progress] called after every step
 *
 * @typedef {object} Prediction
 * @property {number} label the most probable digit
 * @property {number} confidence its probability, 0 to 1
 *
 * @typedef {object} Classifier
 * @property {(image: ArrayLike<number>) => Prediction} predict one image of 784 values in [0, 1]
 * @property {(images: ArrayLike<number>, labels: ArrayLike<number>) => number} accuracy share of images judged rightly
 */

/** A stream of random numbers: bits number `i` are a hash of (seed, i). */
class Random {
  /** @param {number} seed */
  constructor(seed) {
    this.key = Math.imul(seed | 0, 0x9e3779b1) ^ 0x5bd1e995;
    this.counter = 0;
  }

  /** Uniform in (0, 1). */
  uniform() {
    let x = (this.key ^ Math.imul(this.counter++, 0x85ebca6b)) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
    return (((x ^ (x >>> 16)) >>> 0) + 0.5) / 4294967296;
  }

  normal() {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** @param {number} n */
  permutation(n) {
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(this.uniform() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}

/**
 * c[m, n] = a[m, k] . b[n, k], rows of both along k; four by four sums at a time, so each load serves four products.
 * @param {Float64Array} c @param {Float64Array} a @param {Float64Array} b
 * @param {number} m @param {number} n @param {number} k
 */
function matmul(c, a, b, m, n, k) {
  let i = 0;
  for (; i + 4 <= m; i += 4) {
    const a0 = i * k, a1 = a0 + k, a2 = a1 + k, a3 = a2 + k;
    let j = 0;
    for (; j + 4 <= n; j += 4) {
      const b0 = j * k, b1 = b0 + k, b2 = b1 + k, b3 = b2 + k;
      let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
      let s20 = 0, s21 = 0, s22 = 0, s23 = 0, s30 = 0, s31 = 0, s32 = 0, s33 = 0;
      for (let p = 0; p < k; p++) {
        const x0 = a[a0 + p], x1 = a[a1 + p], x2 = a[a2 + p], x3 = a[a3 + p];
        const y0 = b[b0 + p], y1 = b[b1 + p], y2 = b[b2 + p], y3 = b[b3 + p];
        s00 += x0 * y0; s01 += x0 * y1; s02 += x0 * y2; s03 += x0 * y3;
        s10 += x1 * y0; s11 += x1 * y1; s12 += x1 * y2; s13 += x1 * y3;
        s20 += x2 * y0; s21 += x2 * y1; s22 += x2 * y2; s23 += x2 * y3;
        s30 += x3 * y0; s31 += x3 * y1; s32 += x3 * y2; s33 += x3 * y3;
      }
      const c0 = i * n + j, c1 = c0 + n, c2 = c1 + n, c3 = c2 + n;
      c[c0] = s00; c[c0 + 1] = s01; c[c0 + 2] = s02; c[c0 + 3] = s03;
      c[c1] = s10; c[c1 + 1] = s11; c[c1 + 2] = s12; c[c1 + 3] = s13;
      c[c2] = s20; c[c2 + 1] = s21; c[c2 + 2] = s22; c[c2 + 3] = s23;
      c[c3] = s30; c[c3 + 1] = s31; c[c3 + 2] = s32; c[c3 + 3] = s33;
    }
    for (; j < n; j++) for (let r = i; r < i + 4; r++) c[r * n + j] = dot(a, r * k, b, j * k, k);
  }
  for (; i < m; i++) for (let j = 0; j < n; j++) c[i * n + j] = dot(a, i * k, b, j * k, k);
}

/** @param {Float64Array} a @param {number} at @param {Float64Array} b @param {number} bt @param {number} k */
function dot(a, at, b, bt, k) {
  let sum = 0;
  for (let p = 0; p < k; p++) sum += a[at + p] * b[bt + p];
  return sum;
}

/** out[n, m] = a[m, n] transposed. @param {Float64Array} out @param {Float64Array} a @param {number} m @param {number} n */
function transpose(out, a, m, n) {
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[j * m + i] = a[i * n + j];
}

/**
 * cols[(b, y, x), (dy, dx, channel)] = the window of `input[b, y, x, channel]` at stride 2.
 * @param {Float64Array} cols @param {Float64Array} input
 * @param {number} batch @param {number} side @param {number} channels @param {number} outSide
 */
function windows(cols, input, batch, side, channels, outSide) {
  const run = WINDOW * channels; // one row of a window lies together
  let at = 0;
  for (let b = 0; b < batch; b++) {
    for (let y = 0; y < outSide; y++) {
      for (let x = 0; x < outSide; x++) {
        for (let dy = 0; dy < WINDOW; dy++) {
          const from = ((b * side + y * STRIDE + dy) * side + x * STRIDE) * channels;
          for (let p = 0; p < run; p++) cols[at++] = input[from + p];
        }
      }
    }
  }
}

/** The adjoint of `windows`: adds every window's gradient back where it was read. */
function windowsBack(input, cols, batch, side, channels, outSide) {
  const run = WINDOW * channels;
  input.fill(0);
  let at = 0;
  for (let b = 0; b < batch; b++) {
    for (let y = 0; y < outSide; y++) {
      for (let x = 0; x < outSide; x++) {
        for (let dy = 0; dy < WINDOW; dy++) {
          const from = ((b * side + y * STRIDE + dy) * side + x * STRIDE) * channels;
          for (let p = 0; p < run; p++) input[from + p] += cols[at++];
        }
      }
    }
  }
}

/** A weight matrix [out, in] with bias, its gradient and Adam's moments, all in one flat array each: weights, then bias. */
class Layer {
  /** @param {number} inputs @param {number} outputs @param {Random} random */
  constructor(inputs, outputs, random) {
    this.inputs = inputs;
    this.outputs = outputs;
    this.size = inputs * outputs;
    this.values = new Float64Array(this.size + outputs);
    for (let i = 0; i < this.size; i++) this.values[i] = random.normal() * Math.sqrt(2 / inputs);
    this.weights = this.values.subarray(0, this.size);
    this.bias = this.values.subarray(this.size);
    this.gradient = new Float64Array(this.values.length);
    this.mean = new Float64Array(this.values.length);
    this.square = new Float64Array(this.values.length);
    this.transposed = new Float64Array(this.size);
  }

  /** out[m, outputs] = in[m, inputs] . weights' + bias, then relu if asked. */
  forward(out, input, m, relu) {
    matmul(out, input, this.weights, m, this.outputs, this.inputs);
    for (let i = 0, at = 0; i < m; i++) {
      for (let j = 0; j < this.outputs; j++, at++) {
        const value = out[at] + this.bias[j];
        out[at] = relu && value < 0 ? 0 : value;
      }
    }
  }

  /** The gradient of weights and bias from that of the outputs; also that of the inputs where `dInput` is given. */
  backward(dOut, input, m, scratchOut, scratchIn, dInput) {
    transpose(scratchOut, dOut, m, this.outputs);
    transpose(scratchIn, input, m, this.inputs);
    matmul(this.gradient, scratchOut, scratchIn, this.outputs, this.inputs, m);
    for (let j = 0; j < this.outputs; j++) {
      let sum = 0;
      for (let i = 0; i < m; i++) sum += scratchOut[j * m + i];
      this.gradient[this.size + j] = sum;
    }
    if (dInput !== undefined) {
      transpose(this.transposed, this.weights, this.outputs, this.inputs);
      matmul(dInput, dOut, this.transposed, m, this.inputs, this.outputs);
    }
  }

  /** One step of Adam. */
  update(rate, step) {
    const fix1 = 1 - 0.9 ** step, fix2 = 1 - 0.99 ** step;
    for (let i = 0; i < this.values.length; i++) {
      const g = this.gradient[i];
      this.mean[i] = 0.9 * this.mean[i] + 0.1 * g;
      this.square[i] = 0.99 * this.square[i] + 0.01 * g * g;
      this.values[i] -= (rate * this.mean[i]) / fix1 / (Math.sqrt(this.square[i] / fix2) + 1e-8);
    }
  }
}

class Network {
  /** @param {number} batch @param {Random} random */
  constructor(batch, random) {
    const maps1 = 16, maps2 = 32, p1 = SIDE1 * SIDE1, p2 = SIDE2 * SIDE2;
    this.batch = batch;
    this.first = new Layer(WINDOW * WINDOW, maps1, random);
    this.second = new Layer(WINDOW * WINDOW * maps1, maps2, random);
    this.last = new Layer(p2 * maps2, CLASSES, random);
    const of = (/** @type {number} */ n) => new Float64Array(batch * n);
    this.input = of(PIXELS);
    this.cols1 = of(p1 * this.first.inputs);
    this.out1 = of(p1 * maps1);
    this.cols2 = of(p2 * this.second.inputs);
    this.out2 = of(p2 * maps2);
    this.logits = of(CLASSES);
    this.dOut1 = of(p1 * maps1);
    this.dCols2 = of(p2 * this.second.inputs);
    this.dOut2 = of(p2 * maps2);
    this.scratchOut = of(Math.max(p1 * maps1, p2 * maps2, CLASSES));
    this.scratchIn = of(Math.max(p1 * this.first.inputs, p2 * this.second.inputs, this.last.inputs));
    this.rows1 = p1;
    this.rows2 = p2;
  }

  /** Fills `logits`, turned into probabilities, from the first `count` images of `input`. */
  forward(count) {
    windows(this.cols1, this.input, count, SIDE, 1, SIDE1);
    this.first.forward(this.out1, this.cols1, count * this.rows1, true);
    windows(this.cols2, this.out1, count, SIDE1, this.first.outputs, SIDE2);
    this.second.forward(this.out2, this.cols2, count * this.rows2, true);
    this.last.forward(this.logits, this.out2, count, false);
    for (let b = 0; b < count; b++) {
      const row = this.logits.subarray(b * CLASSES, (b + 1) * CLASSES);
      const top = Math.max(...row);
      let sum = 0;
      for (let j = 0; j < CLASSES; j++) sum += row[j] = Math.exp(row[j] - top);
      for (let j = 0; j < CLASSES; j++) row[j] /= sum;
    }
  }

  /** All gradients of the mean cross entropy over a full batch, from the probabilities that `forward` left; the loss. */
  backward(labels) {
    const { batch, logits } = this;
    let loss = 0;
    for (let b = 0; b < batch; b++) {
      loss -= Math.log(Math.max(logits[b * CLASSES + labels[b]], 1e-12)) / batch;
      for (let j = 0; j < CLASSES; j++) {
        const target = j === labels[b] ? 0.91 : 0.01; // smoothed, so that confidence stays a probability
        logits[b * CLASSES + j] = (logits[b * CLASSES + j] - target) / batch;
      }
    }
    this.last.backward(logits, this.out2, batch, this.scratchOut, this.scratchIn, this.dOut2);
    for (let i = 0; i < this.dOut2.length; i++) if (this.out2[i] <= 0) this.dOut2[i] = 0;
    this.second.backward(this.dOut2, this.cols2, batch * this.rows2, this.scratchOut, this.scratchIn, this.dCols2);
    windowsBack(this.dOut1, this.dCols2, batch, SIDE1, this.first.outputs, SIDE2);
    for (let i = 0; i < this.dOut1.length; i++) if (this.out1[i] <= 0) this.dOut1[i] = 0;
    this.first.backward(this.dOut1, this.cols1, batch * this.rows1, this.scratchOut, this.scratchIn, undefined);
    return loss;
  }

  update(rate, step) {
    for (const layer of [this.first, this.second, this.last]) layer.update(rate, step);
  }
}

/**
 * A copy of one image, turned, sheared, scaled and shifted a little, with other contrast and some noise.
 * @param {Float64Array} out @param {number} outAt @param {ArrayLike<number>} images @param {number} at @param {Random} random
 */
function disturb(out, outAt, images, at, random) {
  const spread = () => 2 * random.uniform() - 1;
  const angle = 0.2 * spread(), shear = 0.15 * spread();
  const scaleX = 1 + 0.12 * spread(), scaleY = 1 + 0.12 * spread();
  const shiftX = 2 * spread(), shiftY = 2 * spread();
  const xx = Math.cos(angle) * scaleX, xy = -Math.sin(angle) + shear;
  const yx = Math.sin(angle), yy = Math.cos(angle) * scaleY;
  const gain = 1 + 0.15 * spread(), noise = 0.12 * random.uniform();
  const centre = (SIDE - 1) / 2;
  const value = (/** @type {number} */ x, /** @type {number} */ y) =>
    x < 0 || y < 0 || x >= SIDE || y >= SIDE ? 0 : images[at + y * SIDE + x];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const u = xx * (x - centre) + xy * (y - centre) + centre + shiftX;
      const v = yx * (x - centre) + yy * (y - centre) + centre + shiftY;
      const u0 = Math.floor(u), v0 = Math.floor(v), fu = u - u0, fv = v - v0;
      const upper = value(u0, v0) * (1 - fu) + value(u0 + 1, v0) * fu;
      const lower = value(u0, v0 + 1) * (1 - fu) + value(u0 + 1, v0 + 1) * fu;
      const grey = gain * (upper * (1 - fv) + lower * fv) + noise * 1.7 * spread();
      out[outAt + y * SIDE + x] = grey < 0 ? 0 : grey > 1 ? 1 : grey;
    }
  }
}

/**
 * Trains the judge. About 50 seconds for 9,000 images and 12 passes on one core.
 * @param {ArrayLike<number>} images n x 784 values in [0, 1]
 * @param {ArrayLike<number>} labels n digits
 * @param {TrainOptions} [options]
 * @returns {Classifier}
 */
export function trainClassifier(images, labels, options = {}) {
  const { epochs = 12, seed = 1, batch = 50, progress } = options;
  const n = labels.length;
  if (images.length !== n * PIXELS) throw new Error(`${n} labels need ${n * PIXELS} values, not ${images.length}`);
  if (n < batch || batch < VIEWS.length) throw new Error(`a batch of ${batch} is below ${VIEWS.length} or above the ${n} images`);
  const random = new Random(seed);
  const network = new Network(batch, random);
  const chosen = new Uint8Array(batch);
  const steps = Math.floor(n / batch);
  const total = steps * epochs;
  let step = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    const order = random.permutation(n);
    for (let s = 0; s < steps; s++) {
      for (let b = 0; b < batch; b++) {
        const source = order[s * batch + b];
        chosen[b] = labels[source];
        disturb(network.input, b * PIXELS, images, source * PIXELS, random);
      }
      step++;
      network.forward(batch);
      const loss = network.backward(chosen);
      const warm = Math.min(1, step / 50);
      network.update(0.004 * warm * (0.5 + 0.5 * Math.cos((Math.PI * step) / (total + 1))), step);
      progress?.(step, total, loss);
    }
  }

  /** @type {Classifier["predict"]} */
  const predict = (image) => {
    if (image.length !== PIXELS) throw new Error(`an image has ${PIXELS} values, not ${image.length}`);
    VIEWS.forEach(([dx, dy], view) => {
      for (let y = 0; y < SIDE; y++) {
        for (let x = 0; x < SIDE; x++) {
          const u = x + dx, v = y + dy;
          const grey = u < 0 || v < 0 || u >= SIDE || v >= SIDE ? 0 : image[v * SIDE + u] || 0;
          network.input[view * PIXELS + y * SIDE + x] = Math.min(1, Math.max(0, grey));
        }
      }
    });
    network.forward(VIEWS.length);
    const shares = Array.from({ length: CLASSES }, (_, j) =>
      VIEWS.reduce((sum, _view, view) => sum + network.logits[view * CLASSES + j] / VIEWS.length, 0),
    );
    const confidence = Math.max(...shares);
    return { label: shares.indexOf(confidence), confidence };
  };
  /** @type {Classifier["accuracy"]} */
  const accuracy = (tests, truth) => {
    let right = 0;
    for (let i = 0; i < truth.length; i++) {
      const image = Array.prototype.slice.call(tests, i * PIXELS, (i + 1) * PIXELS);
      if (predict(image).label === truth[i]) right++;
    }
    return right / truth.length;
  };
  return { predict, accuracy };
}
