import type { KernelParts } from "./body.ts";
import type { Target } from "./kernel.ts";
import type { KernelShape, ProductSpec } from "./templates.ts";
export function productTiles(_parts: KernelParts, _spec: ProductSpec, _target: Target): KernelShape {
  throw new Error("tiles");
}
