// The device layer on a real adapter: arithmetic, both error channels, limits, choice of adapter.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GpuHost, openDevice } from "../../runtime/device/device.ts";
import { HeddleError } from "../../runtime/error.ts";

async function thrownBy(promise: Promise<unknown>): Promise<HeddleError> {
  const value = await promise.then(() => undefined, (error: unknown) => error);
  expect(value).toBeInstanceOf(HeddleError);
  return value as HeddleError;
}

const addOne = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;\n@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) g: vec3u) { x[g.x] = x[g.x] + 1.0; }";

async function plusOne(host: GpuHost, values: Float32Array): Promise<Float32Array> {
  const { device } = host;
  const buffer = device.createBuffer({ size: values.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
  const back = device.createBuffer({ size: values.byteLength, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(buffer, 0, values as Float32Array<ArrayBuffer>);
  const pipeline = await host.settle(device.createComputePipelineAsync({ layout: "auto", compute: { module: device.createShaderModule({ code: addOne }) } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer } }] });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(values.length / 4);
  pass.end();
  encoder.copyBufferToBuffer(buffer, 0, back, 0, values.byteLength);
  device.queue.submit([encoder.finish()]);
  await host.settle(back.mapAsync(GPUMapMode.READ));
  const result = new Float32Array(back.getMappedRange().slice(0));
  buffer.destroy();
  back.destroy();
  return result;
}

describe("an open device", () => {
  let host: GpuHost;
  beforeAll(async () => {
    host = await openDevice();
  });
  afterAll(async () => {
    await host.destroy();
  });

  it("computes", async () => {
    expect([...(await plusOne(host, Float32Array.of(1, 2, 3, 4, -5, 0.5, 1e6, 0)))]).toEqual([2, 3, 4, 5, -4, 1.5, 1000001, 1]);
  });

  it("reports itself", () => {
    expect(host.info.name).not.toBe("");
    expect(host.info.limits["maxStorageBuffersPerShaderStage"]).toBeGreaterThanOrEqual(8);
    expect(host.info.language.length).toBeGreaterThan(0);
    if (host.info.features.includes("subgroups")) expect(host.info.subgroupMinSize).toBeGreaterThanOrEqual(4);
  });

  it("throws an uncaptured error at the next boundary, once", async () => {
    host.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
    const error = await thrownBy(host.settle(host.device.queue.onSubmittedWorkDone()));
    expect(error.code).toBe("E0505");
    expect(error.message).toMatch(/usage/i);
    host.check();
    expect(host.unreported()).toBe(0);
  });

  it("counts the errors it did not show", async () => {
    for (let i = 0; i < 3; i++) host.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
    const error = await thrownBy(host.settle(host.device.queue.onSubmittedWorkDone()));
    expect(error.message).toMatch(/and 2 more/);
  });

  it("makes a failed pipeline a HeddleError", async () => {
    const module = host.device.createShaderModule({ code: "@compute @workgroup_size(1) fn main() { let x: f32 = 1u; }" });
    const error = await thrownBy(host.settle(host.device.createComputePipelineAsync({ layout: "auto", compute: { module } })));
    expect(error.code).toBe("E0505");
    await host.settle(host.device.queue.onSubmittedWorkDone()).catch(() => {});
  });
});

describe("opening", () => {
  it("refuses an adapter with too little and names every lack", async () => {
    const error = await thrownBy(openDevice({ requireLimits: { maxBufferSize: 2 ** 60, maxBindGroups: 400 }, features: ["telepathy"] }));
    expect(error.code).toBe("E0503");
    expect(error.message).toMatch(/maxBufferSize/);
    expect(error.message).toMatch(/maxBindGroups/);
    expect(error.message).toMatch(/telepathy/);
  });

  it("asks only for the minimum when told to", async () => {
    const host = await openDevice({ limits: "minimum" });
    expect(host.device.limits.maxStorageBuffersPerShaderStage).toBe(8);
    expect(host.device.limits.maxComputeWorkgroupStorageSize).toBe(16384);
    await host.destroy();
  });

  it("lists what there is when the name is unknown", async () => {
    const error = await thrownBy(openDevice({ adapter: "no such thing" }));
    expect(error.code).toBe("E0502");
    expect(error.exit).toBe(2);
    expect(error.help).toMatch(/`null`/);
  });

  it("takes a part of a name, in any case", async () => {
    const wanted = /`([^`]+)`/.exec((await thrownBy(openDevice({ adapter: "no such thing" }))).help ?? "")?.[1] ?? "";
    const host = await openDevice({ adapter: wanted.slice(0, 6).toUpperCase() });
    expect([...(await plusOne(host, Float32Array.of(1, 2, 3, 4)))]).toEqual([2, 3, 4, 5]);
    await host.destroy();
  });

  it("compiles without running on the null adapter", async () => {
    const host = await openDevice({ adapter: "null" });
    expect(host.info.source).toBe("null");
    const info = await host.settle(host.device.createShaderModule({ code: addOne }).getCompilationInfo());
    expect(info.messages.filter((m) => m.type === "error")).toEqual([]);
    await host.destroy();
  });

  it("runs without bounds checks when trusted", async () => {
    const host = await openDevice({ trusted: true });
    expect(host.info.trusted).toBe(true);
    expect([...(await plusOne(host, Float32Array.of(1, 2, 3, 4)))]).toEqual([2, 3, 4, 5]);
    await host.destroy();
  });

  it("rejects what is pending when the device goes", async () => {
    const host = await openDevice({ adapter: "null" });
    const never = host.settle(new Promise(() => {}));
    host.device.destroy(); // not through the host: a loss it did not ask for
    expect((await thrownBy(never)).code).toBe("E0504");
    expect(() => host.check()).toThrow(HeddleError);
    await host.destroy();
  });
});
