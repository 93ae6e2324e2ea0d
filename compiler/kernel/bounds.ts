import type { Kernel } from "./kernel.ts";

export const kernelProven = (_kernel: Kernel): boolean => false;
