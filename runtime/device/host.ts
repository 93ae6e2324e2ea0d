// An open GPU, the same shape in Node and in a page. In: a GPUDevice and what is known of its adapter. Out: a GpuHost that
// collects the errors WebGPU reports out of band (uncapturederror, device loss) and throws them at the next boundary, and
// that keeps Node's event loop alive while a GPU promise is pending (Dawn's own promises do not).
// Refuses to go on silently: a result read back after an uncaptured error is thrown away, not returned.

import { HeddleError } from "../error.ts";

/** What is known of an adapter; plain data, so that `doctor --json` and metrics can carry it. */
export interface AdapterReport {
  readonly kind: "node" | "browser";
  /** The name a person knows: `NVIDIA H100`, `SwiftShader driver 5.0.0`. */
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  /** True for an adapter that runs on the CPU. */
  readonly fallback: boolean;
  /** How it was found: `system`, `swiftshader`, `null`, `browser`. */
  readonly source: string;
  /** Zero where the adapter has no subgroups or does not say. */
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  /** The device's limits where a device is open, else the adapter's. */
  readonly limits: Readonly<Record<string, number>>;
  readonly features: readonly string[];
  /** WGSL language features. */
  readonly language: readonly string[];
  /** True where Dawn's bounds checks are off; only for plans whose every kernel is proven. */
  readonly trusted: boolean;
}

export interface OpenOptions {
  /** As HEDDLE_ADAPTER: `swiftshader`, `null`, or part of an adapter's name. Node only. */
  readonly adapter?: string;
  /** Turns bounds checks off. Only for plans whose every kernel is proven in bounds; ignored in a page. */
  readonly trusted?: boolean;
  /** Limits the plan needs; an adapter with less is refused, naming each. */
  readonly requireLimits?: Readonly<Partial<Record<string, number>>>;
  /** Features the plan needs. */
  readonly features?: readonly string[];
  /** `minimum` asks only for what every WebGPU device has; `adapter` (default) for all the adapter gives. */
  readonly limits?: "adapter" | "minimum";
}

export interface GpuHost {
  readonly kind: "node" | "browser";
  readonly device: GPUDevice;
  readonly info: AdapterReport;
  /** Throws what the GPU reported since the last call: E0504 lost, E0505 invalid use, E0506 out of memory. */
  check(): void;
  /** Awaits a GPU promise: keeps the loop alive, rejects if the device is lost meanwhile, then checks. */
  settle<T>(promise: Promise<T>): Promise<T>;
  /** Errors collected and not yet thrown by check(). */
  unreported(): number;
  destroy(): Promise<void>;
}

/** Wraps an open device. `release` drops what must outlive the device (the Dawn instance). */
export function makeHost(device: GPUDevice, info: AdapterReport, release: () => void = () => {}): GpuHost {
  const errors: HeddleError[] = [];
  const waiting = new Set<(error: HeddleError) => void>();
  let lost: HeddleError | undefined;
  let closing = false;
  let beat: ReturnType<typeof setInterval> | undefined;

  device.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    errors.push(fromGpuError(event.error, info.name));
  });
  void device.lost.then((loss) => {
    if (closing) return;
    lost = new HeddleError({
      code: "E0504",
      message: `the GPU device was lost: ${firstLines(loss.message) || loss.reason}`,
      place: info.name,
      help: "run it again; if it recurs, use smaller batches, close other GPU programs, or set HEDDLE_ADAPTER=swiftshader",
    });
    for (const reject of [...waiting]) reject(lost);
  });

  const check = (): void => {
    if (lost !== undefined) throw lost;
    const first = errors[0];
    if (first === undefined) return;
    const more = errors.length - 1;
    errors.length = 0;
    if (more === 0) throw first;
    throw new HeddleError({ code: first.code, message: `${first.message} (and ${more} more)`, place: info.name, help: first.help, cause: first });
  };

  const settle = <T>(promise: Promise<T>): Promise<T> => {
    beat ??= setInterval(() => {}, 1000);
    return new Promise<T>((resolve, reject) => {
      const done = (): void => {
        waiting.delete(fail);
        if (waiting.size === 0 && beat !== undefined) {
          clearInterval(beat);
          beat = undefined;
        }
      };
      const fail = (thrown: unknown): void => {
        done();
        reject(asHeddle(thrown, info.name));
      };
      waiting.add(fail);
      if (lost !== undefined) return fail(lost);
      promise.then(
        (value) => {
          done();
          try {
            check();
            resolve(value);
          } catch (error) {
            reject(error);
          }
        },
        // A promise often fails because of an error that was reported apart: that one says more.
        (thrown) => fail(lost ?? errors.shift() ?? thrown),
      );
    });
  };

  return {
    kind: info.kind,
    device,
    info,
    check,
    settle,
    unreported: () => errors.length,
    destroy: async () => {
      if (closing) return;
      if (lost === undefined) await settle(device.queue.onSubmittedWorkDone()).catch((error: unknown) => {
        if (error instanceof HeddleError) errors.push(error);
      });
      closing = true;
      device.destroy();
      release();
    },
  };
}

function fromGpuError(error: GPUError, adapter: string): HeddleError {
  const text = firstLines(error.message);
  if (error.constructor.name === "GPUOutOfMemoryError") {
    return new HeddleError({
      code: "E0506",
      message: `the GPU is out of memory: ${text}`,
      place: adapter,
      help: "lower the batch size, turn on rematerialisation, or close other GPU programs",
    });
  }
  return new HeddleError({
    code: "E0505",
    message: `the GPU refused a command: ${text}`,
    place: adapter,
    help: "this is a fault of Heddle or of the driver: please report it with `heddle doctor --json`",
  });
}

function asHeddle(thrown: unknown, adapter: string): unknown {
  if (thrown instanceof HeddleError) return thrown;
  const name = thrown instanceof Error ? thrown.name : "";
  // Dawn rejects with DOMException-like values; anything else is a bug of ours and stays what it is.
  if (!/^(AbortError|OperationError|GPUPipelineError|InvalidStateError)$/.test(name)) return thrown;
  return new HeddleError({ code: "E0505", message: `the GPU refused a command: ${firstLines((thrown as Error).message)}`, place: adapter, cause: thrown });
}

/** Dawn appends its own call stack; the first lines name the object and the fault. */
function firstLines(message: string): string {
  return message.split("\n").filter((line) => !/^\s+at /.test(line)).slice(0, 12).join("\n").trim();
}
