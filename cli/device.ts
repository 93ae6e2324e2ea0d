// The adapter that a command will use, asked for once, without opening it.

import type { AdapterReport } from "../runtime/device/device.ts";
import { describeNodeAdapter } from "../runtime/device/node.ts";

export const describeAdapter = (): Promise<AdapterReport> => describeNodeAdapter();
