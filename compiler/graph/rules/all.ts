// Every rewrite rule, in the order they are tried on a node.

import type { RewriteRule } from "../rewrite.ts";
import { algebra } from "./algebra.ts";
import { grouped } from "./grouped.ts";
import { movement } from "./movement.ts";
import { reduction } from "./reduction.ts";

export const allRules: readonly RewriteRule[] = [...algebra, ...movement, ...reduction, ...grouped];
