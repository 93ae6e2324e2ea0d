// WebGPU's guaranteed limits and the comparison of an adapter with what a plan asks. Pure data and functions.

/** What every conformant WebGPU device gives without asking; the compute limits a plan can depend on. */
export const guaranteedLimits = {
  maxBindGroups: 4,
  maxBindingsPerBindGroup: 1000,
  maxStorageBuffersPerShaderStage: 8,
  maxUniformBuffersPerShaderStage: 12,
  maxStorageBufferBindingSize: 134217728,
  maxUniformBufferBindingSize: 65536,
  maxBufferSize: 268435456,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupsPerDimension: 65535,
  minStorageBufferOffsetAlignment: 256,
  minUniformBufferOffsetAlignment: 256,
} as const satisfies Record<string, number>;

/** Used when the adapter has them; never assumed. */
export const optionalFeatures: readonly string[] = ["timestamp-query", "shader-f16", "subgroups"];

/** Limit names whose better value is the smaller one. */
function isAlignment(name: string): boolean {
  return name.startsWith("min");
}

export interface Shortfall {
  readonly name: string;
  readonly has: number | undefined;
  readonly needs: number;
}

/** The limits in which `has` is worse than `needs`. */
export function shortfalls(has: Readonly<Record<string, number>>, needs: Readonly<Partial<Record<string, number>>>): Shortfall[] {
  const found: Shortfall[] = [];
  for (const [name, need] of Object.entries(needs)) {
    if (need === undefined) continue;
    const value = has[name];
    if (value === undefined || (isAlignment(name) ? value > need : value < need)) found.push({ name, has: value, needs: need });
  }
  return found;
}

/** A GPUSupportedLimits as plain data; its properties are getters on the prototype. */
export function readLimits(limits: GPUSupportedLimits): Record<string, number> {
  const out: Record<string, number> = {};
  for (const name in limits) {
    const value = (limits as unknown as Record<string, unknown>)[name];
    if (typeof value === "number") out[name] = value;
  }
  return out;
}

/** What to pass as requiredLimits: at least `needs`, and all the adapter gives of the guaranteed set if `raise`. */
export function limitsToRequest(
  adapter: Readonly<Record<string, number>>,
  needs: Readonly<Partial<Record<string, number>>>,
  raise: boolean,
): Record<string, number> {
  const out: Record<string, number> = {};
  if (raise) {
    for (const name of Object.keys(guaranteedLimits)) {
      const value = adapter[name];
      if (value !== undefined) out[name] = value;
    }
  }
  for (const [name, need] of Object.entries(needs)) {
    if (need === undefined) continue;
    const value = out[name];
    out[name] = value === undefined ? need : isAlignment(name) ? Math.min(value, need) : Math.max(value, need);
  }
  return out;
}
