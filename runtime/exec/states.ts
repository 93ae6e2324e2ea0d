// Persistent buffers of a bundle (parameters, gradients, moments, caches), shared by all its programs.
// In: `StateBuffer` descriptions and lengths. Out: GPU buffers, named field reads and writes.
// Refuses an unknown name and data of the wrong length. Numbers of f16 buffers go in and come out as f32.

import { evalInt } from "../../compiler/plan/expr.ts";
import { packHalves, unpackHalves } from "../../compiler/plan/half.ts";
import { elementBytes } from "../../compiler/plan/plan.ts";
import type { StateBuffer, StorageType } from "../../compiler/plan/plan.ts";
import type { GpuHost } from "../device/device.ts";
import { HeddleError } from "../error.ts";
import { readBuffers } from "./readback.ts";

export type HostArray = Float32Array | Int32Array | Uint32Array;

interface Held {
  readonly spec: StateBuffer;
  buffer: GPUBuffer;
  elements: number;
}

export interface FieldPlace {
  readonly buffer: string;
  readonly offset: number;
  readonly size: number;
  readonly shape: readonly number[];
}

export class StateStore {
  readonly host: GpuHost;
  /** Grows whenever a buffer is replaced, so that bind groups made before it are remade. */
  version = 0;
  readonly #held = new Map<string, Held>();
  readonly #fields = new Map<string, FieldPlace>();

  constructor(host: GpuHost) {
    this.host = host;
  }

  /** Create the buffers, zero-filled. Buffers whose size depends on lengths are (re)made when the size changes. */
  allocate(specs: readonly StateBuffer[], lengths: Readonly<Record<string, number>> = {}): void {
    for (const spec of specs) {
      const elements = Math.max(4, evalInt(spec.size, lengths));
      const old = this.#held.get(spec.name);
      if (old && old.elements >= elements) continue;
      old?.buffer.destroy();
      const buffer = this.host.device.createBuffer({
        label: spec.name,
        size: Math.ceil((elements * elementBytes(spec.dtype)) / 16) * 16,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
      });
      this.#held.set(spec.name, { spec, buffer, elements });
      this.version++;
      for (const f of spec.fields)
        this.#fields.set(`${spec.name}/${f.name}`, {
          buffer: spec.name,
          offset: f.offset,
          size: f.shape.reduce((n, s) => n * s, 1),
          shape: f.shape,
        });
    }
  }

  buffer(name: string): GPUBuffer {
    return this.#get(name).buffer;
  }

  has(name: string): boolean {
    return this.#held.has(name);
  }

  /** Bytes held now. */
  get bytes(): number {
    let n = 0;
    for (const h of this.#held.values()) n += h.buffer.size;
    return n;
  }

  /** Field names of a buffer, in order. */
  fields(buffer: string): { name: string; place: FieldPlace }[] {
    return this.#get(buffer).spec.fields.map((f) => ({ name: f.name, place: this.place(`${buffer}/${f.name}`) }));
  }

  place(field: string): FieldPlace {
    const p = this.#fields.get(field);
    if (!p) throw new HeddleError({ code: "E0540", message: `the bundle has no state \`${field}\`` });
    return p;
  }

  /** Write one field, or a whole buffer when the name has no field part. */
  write(name: string, data: HostArray): void {
    const place = name.includes("/") ? this.place(name) : { buffer: name, offset: 0, size: this.#get(name).elements };
    if (data.length > place.size || (name.includes("/") && data.length !== place.size))
      throw new HeddleError({
        code: "E0541",
        message: `\`${name}\` holds ${place.size} numbers, but ${data.length} were given`,
      });
    const plain = data.buffer instanceof ArrayBuffer ? data : data.slice();
    const dtype = this.#dtype(place.buffer);
    const typed = dtype === "f16" ? packHalves(plain) : plain;
    this.host.device.queue.writeBuffer(this.buffer(place.buffer), place.offset * elementBytes(dtype), typed as Float32Array<ArrayBuffer>);
  }

  async read(name: string): Promise<Float32Array> {
    const place = name.includes("/") ? this.place(name) : { buffer: name, offset: 0, size: this.#get(name).elements };
    const dtype = this.#dtype(place.buffer);
    const each = elementBytes(dtype);
    const [bytes = new ArrayBuffer(0)] = await readBuffers(this.host, [
      { buffer: this.buffer(place.buffer), offset: place.offset * each, bytes: Math.ceil((place.size * each) / 4) * 4 },
    ]);
    return dtype === "f16" ? unpackHalves(bytes, place.size) : new Float32Array(bytes);
  }

  /** Fill a buffer with zeros. */
  clear(name: string): void {
    const encoder = this.host.device.createCommandEncoder();
    encoder.clearBuffer(this.buffer(name));
    this.host.device.queue.submit([encoder.finish()]);
  }

  destroy(): void {
    for (const h of this.#held.values()) h.buffer.destroy();
    this.#held.clear();
    this.#fields.clear();
  }

  #dtype(buffer: string): StorageType {
    return this.#get(buffer).spec.dtype;
  }

  #get(name: string): Held {
    const h = this.#held.get(name);
    if (!h) throw new HeddleError({ code: "E0540", message: `the bundle has no state \`${name}\`` });
    return h;
  }
}
