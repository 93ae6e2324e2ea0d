// Runs inside a page: the device layer at work. Each function returns plain data for the test to judge.
import { type AdapterReport, openDevice } from "../../runtime/device/device.ts";
import { deviceReport, renderDoctor } from "../../runtime/device/report.ts";

const code = `@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) g: vec3u) { c[g.x] = a[g.x] + b[g.x]; }`;

async function addVectors(): Promise<{ sum: number[]; info: AdapterReport; refused: string }> {
  const host = await openDevice();
  const { device } = host;
  const pipeline = await host.settle(device.createComputePipelineAsync({ layout: "auto", compute: { module: device.createShaderModule({ code }) } }));
  const buffers = [[1, 2, 3, 4], [10, 20, 30, 40], [0, 0, 0, 0]].map((values) => {
    const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
    device.queue.writeBuffer(buffer, 0, Float32Array.from(values));
    return buffer;
  });
  const back = device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })) }));
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffers[2]!, 0, back, 0, 16);
  device.queue.submit([encoder.finish()]);
  await host.settle(back.mapAsync(GPUMapMode.READ));
  const sum = [...new Float32Array(back.getMappedRange())];
  device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
  const refused = await host.settle(device.queue.onSubmittedWorkDone()).then(() => "nothing", (error: { code: string }) => error.code);
  await host.destroy();
  return { sum, info: host.info, refused };
}

const doctor = async (): Promise<string> => renderDoctor(await deviceReport());

Object.assign(globalThis, { addVectors, doctor });
