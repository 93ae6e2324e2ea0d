// The public runtime: load a bundle, generate. Imports nothing of the compiler but plan data.

export { load, type LoadOptions, readBundle } from "./bundle/open.ts";
export { type BundleSource, bundleSource, memorySource } from "./bundle/source.ts";
export { type AdapterReport, type GpuHost, type OpenOptions, openDevice } from "./device/device.ts";
export { HeddleError, renderHeddleError } from "./error.ts";
export { type FieldInput, type FieldOutput, GenerativeModel, type RunOptions } from "./generate/model.ts";
export { type Image, imageBytes, imageFromBytes } from "./tokenize/image.ts";
export type { Manifest, ModelSpec } from "../compiler/plan/manifest.ts";
