// The templates fusion calls, behind the one interface it knows.

import { attendBackward, attendDelta } from "./attention_backward.ts";
import { attendForward } from "./attention_forward.ts";
import { attendTable } from "./attention_table.ts";
import { crossEntropyRows } from "./cross_entropy.ts";
import { product } from "./product.ts";
import type { Templates } from "./templates.ts";

export const templates: Templates = { product, attendForward, attendDelta, attendBackward, attendTable, crossEntropyRows };
