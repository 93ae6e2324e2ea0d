// Copies ranges of GPU buffers to the host: one submit and one map for any number of ranges.

import type { GpuHost } from "../device/device.ts";

export interface Range {
  readonly buffer: GPUBuffer;
  /** Bytes; multiples of 4. */
  readonly offset: number;
  readonly bytes: number;
}

/** Read the ranges; each result is its own ArrayBuffer. For occasional reads: makes and destroys a staging buffer. */
export async function readBuffers(host: GpuHost, ranges: readonly Range[]): Promise<ArrayBuffer[]> {
  const total = ranges.reduce((n, r) => n + Math.ceil(r.bytes / 4) * 4, 0);
  if (total === 0) return ranges.map(() => new ArrayBuffer(0));
  const staging = host.device.createBuffer({ size: total, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  try {
    const encoder = host.device.createCommandEncoder();
    let at = 0;
    for (const r of ranges) {
      if (r.bytes > 0) encoder.copyBufferToBuffer(r.buffer, r.offset, staging, at, r.bytes);
      at += Math.ceil(r.bytes / 4) * 4;
    }
    host.device.queue.submit([encoder.finish()]);
    await host.settle(staging.mapAsync(GPUMapMode.READ));
    host.check();
    const all = staging.getMappedRange();
    const out: ArrayBuffer[] = [];
    at = 0;
    for (const r of ranges) {
      out.push(all.slice(at, at + r.bytes));
      at += Math.ceil(r.bytes / 4) * 4;
    }
    staging.unmap();
    return out;
  } finally {
    staging.destroy();
  }
}
