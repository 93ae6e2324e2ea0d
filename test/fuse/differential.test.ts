// Graph interpreter = kernel interpreter on what fusion makes: every op alone.

import { describe, test } from "vitest";
import { sumByClass } from "../../compiler/graph/sum_by_class.ts";
import { cases, buildCase } from "../graph/cases.ts";
import { check } from "./check.ts";

describe("every op alone", () => {
  for (const [op, list] of Object.entries(cases))
    for (const c of list)
      test(`${op}: ${c.title}`, () => {
        const built = buildCase(c);
        built.builder.output("y", built.result);
        const graph = sumByClass(built.builder.finish());
        check(graph, { inputs: built.inputs, lengths: built.lengths });
      });
});
