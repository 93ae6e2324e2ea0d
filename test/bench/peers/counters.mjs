// Counts what any WebGPU program asks of the device, by wrapping the prototypes: the same ruler for every contender.
// Out: dispatches, passes, submits, writes, buffers made and their bytes within a measured stretch, and the most bytes
// that lived at once in it (everything that stands, weights and staging included). A buffer dies when it is destroyed;
// one that is only left to the garbage collector lives on, as it does on the device.
// Also copies what Dawn refuses: data in a SharedArrayBuffer, which wasm memory may be.

/**
 * @typedef {object} Counts
 * @property {number} dispatches @property {number} passes @property {number} submits @property {number} writes
 * @property {number} copies @property {number} buffers buffers made
 * @property {number} allocated bytes of the buffers made
 * @property {number} peak most bytes that lived at once
 * @property {number} live bytes that live at the end
 */

const zero = () => ({ dispatches: 0, passes: 0, submits: 0, writes: 0, copies: 0, buffers: 0, allocated: 0 });

/** Wraps the globals' prototypes, once a process. Call after they are installed and before a device is made. */
export function installCounters() {
  let counts = zero();
  let live = 0, peak = 0;
  const alive = new WeakMap();

  const wrap = (/** @type {object} */ prototype, /** @type {string} */ name, before) => {
    const inner = prototype[name];
    prototype[name] = function (...args) {
      const changed = before.call(this, args);
      return inner.apply(this, changed ?? args);
    };
  };

  const { createBuffer } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    counts.buffers++;
    counts.allocated += descriptor.size;
    live += descriptor.size;
    peak = Math.max(peak, live);
    alive.set(buffer, descriptor.size);
    return buffer;
  };
  wrap(GPUBuffer.prototype, "destroy", function () {
    live -= alive.get(this) ?? 0;
    alive.delete(this);
  });
  wrap(GPUComputePassEncoder.prototype, "dispatchWorkgroups", () => void counts.dispatches++);
  wrap(GPUComputePassEncoder.prototype, "dispatchWorkgroupsIndirect", () => void counts.dispatches++);
  wrap(GPUCommandEncoder.prototype, "beginComputePass", () => void counts.passes++);
  wrap(GPUCommandEncoder.prototype, "copyBufferToBuffer", () => void counts.copies++);
  wrap(GPUQueue.prototype, "submit", () => void counts.submits++);
  wrap(GPUQueue.prototype, "writeBuffer", (args) => {
    counts.writes++;
    const [buffer, offset, data, from = 0, size] = args;
    const memory = ArrayBuffer.isView(data) ? data.buffer : data;
    if (!(memory instanceof SharedArrayBuffer)) return undefined;
    const unit = ArrayBuffer.isView(data) && !(data instanceof DataView) ? data.BYTES_PER_ELEMENT : 1;
    const start = (ArrayBuffer.isView(data) ? data.byteOffset : 0) + from * unit;
    const length = size === undefined ? data.byteLength - from * unit : size * unit;
    return [buffer, offset, new Uint8Array(memory, start, length).slice()];
  });

  return {
    /**
     * Counts one stretch of work.
     * @template T @param {() => Promise<T>} work
     * @returns {Promise<{ result: T, counts: Counts }>}
     */
    async measure(work) {
      counts = zero();
      peak = live;
      const result = await work();
      return { result, counts: { ...counts, peak, live } };
    },
    live: () => live,
  };
}
