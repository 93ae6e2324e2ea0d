// tfjs for `bundled`: core with its gradients, the WebGPU backend, and its version.

const ENTRY = `
export * from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients";
export { version as version_webgpu } from "@tensorflow/tfjs-backend-webgpu/package.json";
import "@tensorflow/tfjs-backend-webgpu";
`;

export const TFJS = { stdin: { contents: ENTRY, resolveDir: import.meta.dirname } };
