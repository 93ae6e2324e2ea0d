// A task's template and a sample become a table of tokens: ids, places, spans, roles and features, written out by hand.

import { describe, expect, test } from "vitest";
import { drawDrops, droppableItems, layoutSample } from "../../runtime/sequence/layout.ts";
import { ID, item, picture, text, tinySpec } from "./tiny_spec.ts";

const list = (column: Int32Array | undefined): number[] => [...(column ?? [])];

describe("layoutSample", () => {
  test("lays `describe` out token by token", () => {
    const s = layoutSample(tinySpec, "describe", { caption: text("hi"), picture: picture() });
    expect(s.count).toBe(10);
    expect(list(s.columns.id)).toEqual([ID.bos, ID.boi, 0, 0, 0, 0, ID.eoi, 104, 105, ID.eos]);
    expect(list(s.columns.stream)).toEqual([0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
    expect(list(s.columns.pos)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(list(s.columns.span)).toEqual([0, 1, 2, 2, 2, 2, 3, 4, 4, 5]);
    expect(list(s.columns.row)).toEqual([0, 0, 0, 0, 1, 1, 0, 0, 0, 0]);
    expect(list(s.columns.col)).toEqual([0, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    expect(list(s.columns.task)).toEqual(Array(10).fill(1));
    // <eos> ends the predicted text, so the model must learn to say it
    expect(list(s.columns.role)).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    expect(s.segments).toEqual([
      { stream: "image", field: "picture", start: 2, count: 4, role: 0 },
      { stream: "text", field: "caption", start: 7, count: 2, role: 1 },
    ]);
    expect([...(s.features.image ?? [])].slice(8, 24)).toEqual(Array.from({ length: 16 }, (_, i) => i / 16));
    expect([...(s.features.image ?? [])].filter((_, i) => i < 8 || i >= 24).every((x) => x === 0)).toBe(true);
  });

  test("does not ask for the literal after a predicted image", () => {
    const s = layoutSample(tinySpec, "draw", { caption: text("a"), picture: picture() });
    expect(list(s.columns.role)).toEqual([0, 0, 0, 1, 1, 1, 1, 0]);
  });

  test("refuses a sample that the table of positions does not cover", () => {
    const bounded = { ...tinySpec, maxTokens: 9 };
    expect(layoutSample(bounded, "describe", { caption: text("h"), picture: picture() }).count).toBe(9);
    expect(() => layoutSample(bounded, "describe", { caption: text("hi"), picture: picture() })).toThrow(expect.objectContaining({ code: "E0566", message: expect.stringMatching(/10 tokens.*9/) as string }) as Error);
  });

  test("leaves dropped items out and closes the gap", () => {
    const s = layoutSample(tinySpec, "draw", { caption: text("abc"), picture: picture() }, { dropped: new Set([1]) });
    expect(list(s.columns.id)).toEqual([ID.bos, ID.boi, 0, 0, 0, 0, ID.eoi]);
    expect(list(s.columns.pos)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  test("of a prefix is a prefix, and needs no field beyond it", () => {
    const whole = layoutSample(tinySpec, "describe", { caption: text("hi"), picture: picture() });
    const part = layoutSample(tinySpec, "describe", { picture: picture() }, { until: 4 });
    expect(part.count).toBe(7);
    for (const [name, column] of Object.entries(part.columns)) expect(list(column), name).toEqual(list(whole.columns[name]).slice(0, 7));
  });

  test("gives declared attributes the item's value, else the fallback", () => {
    const [draw] = tinySpec.tasks;
    const spec = { ...tinySpec, attributes: [{ name: "turn", fallback: 7 }], tasks: [{ ...tinySpec.tasks[0], name: "draw", id: 0, fields: draw?.fields ?? [], items: [item("given", "text", "caption", 0, 0, { turn: 2 }), item("predict", "image", "picture")] }] };
    const s = layoutSample(spec, "draw", { caption: text("ab"), picture: picture() });
    expect(list(s.columns.turn)).toEqual([2, 2, 7, 7, 7, 7]);
  });

  test("refuses an unknown task, a missing field, a field of the wrong kind or size", () => {
    expect(() => layoutSample(tinySpec, "paint", {})).toThrow(expect.objectContaining({ code: "E0560", help: expect.stringContaining("describe") as string }) as Error);
    expect(() => layoutSample(tinySpec, "draw", { picture: picture() })).toThrow(expect.objectContaining({ code: "E0561", message: expect.stringContaining("`caption`") as string }) as Error);
    expect(() => layoutSample(tinySpec, "draw", { caption: picture(), picture: picture() })).toThrow(expect.objectContaining({ code: "E0561" }) as Error);
    expect(() => layoutSample(tinySpec, "draw", { caption: text("a"), picture: { kind: "features", data: new Float32Array(12) } })).toThrow(expect.objectContaining({ code: "E0562", message: expect.stringContaining("4 x 4 x 1") as string }) as Error);
    expect(() => layoutSample(tinySpec, "draw", { caption: text("a"), picture: text("b") })).toThrow(expect.objectContaining({ code: "E0562" }) as Error);
  });
});

describe("drops", () => {
  const task = { name: "x", id: 0, fields: [], items: [item("given", "text", "a", 0.5, 1), item("given", "text", "b", 0.5, 1), item("given", "text", "c", 0.5), item("predict", "text", "d")] };

  test("a group goes together, by one draw; an item alone by its own", () => {
    expect(drawDrops(task, (k) => (k === 0 ? 0 : 1))).toEqual(new Set([0, 1]));
    expect(drawDrops(task, (k) => (k === 2 ? 0 : 1))).toEqual(new Set([2]));
    expect(drawDrops(task, () => 0.5)).toEqual(new Set());
    expect(drawDrops(task, () => 0.4999)).toEqual(new Set([0, 1, 2]));
  });

  test("an unconditional row leaves out all that may be dropped", () => {
    expect(droppableItems(task)).toEqual(new Set([0, 1, 2]));
  });
});
