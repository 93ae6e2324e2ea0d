import type { Program, Target } from "./kernel.ts";

export const mergeDispatches = (program: Program, _target: Target): Program => program;
