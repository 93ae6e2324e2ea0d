// Routed layers as they were applied. In: a note of each, from routes and routers. Out: the list that lowering and diagnostics read.

import type { Context } from "./context.ts";
import type { RoutingNote } from "./network.ts";

/** Remembers one application of a routed layer. */
export function noteRouting(cx: Context, note: RoutingNote): void {
  cx.made.routings.push(note);
}
