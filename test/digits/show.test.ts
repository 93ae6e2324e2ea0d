// The contact sheet and the terminal preview: exact text, exact pixels, colour only where it is welcome.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { decode } from "fast-png";
import { describe, expect, it } from "vitest";
import { contactSheet, foldText } from "../../cli/show/contact_sheet.ts";
import type { Picture } from "../../cli/show/contact_sheet.ts";
import { ADVANCE, GLYPH_HEIGHT, GLYPH_WIDTH, glyph } from "../../cli/show/font.ts";
import { preview, takesColour } from "../../cli/show/preview.ts";

const grey = (width: number, height: number, pixels: number[], caption: string): Picture => ({
  width,
  height,
  pixels: Float32Array.from(pixels),
  channels: 1,
  caption,
});

/** Reads a line of text back from a decoded sheet, by the font. */
function readText(png: ReturnType<typeof decode>, x: number, y: number, count: number): string {
  const printable = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));
  let text = "";
  for (let at = 0; at < count; at++) {
    const rows = Array.from({ length: GLYPH_HEIGHT }, (_, row) => {
      let bits = 0;
      for (let c = 0; c < GLYPH_WIDTH; c++) {
        const ink = png.data[((y + row) * png.width + x + at * ADVANCE + c) * 3]!;
        bits = bits * 2 + (ink > 128 ? 1 : 0);
      }
      return bits;
    });
    text += printable.find((ch) => glyph(ch).every((bits, row) => bits === rows[row])) ?? "?";
  }
  return text;
}

describe("font", () => {
  it("has a picture of its own for every letter, digit and the marks that captions use", () => {
    const all = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"-+=*/%()[]{}<>_#&@$^|~"];
    const pictures = all.map((ch) => glyph(ch).join());
    expect(new Set(pictures).size).toBe(all.length);
    for (const ch of all) {
      expect(glyph(ch)).toHaveLength(GLYPH_HEIGHT);
      expect(glyph(ch).every((bits) => bits >= 0 && bits < 32)).toBe(true);
    }
    expect(pictures).not.toContain(glyph("é").join()); // the box
  });
});

describe("contact sheet", () => {
  it("enlarges pixels by whole squares and writes the caption exactly", () => {
    const pixels = Array.from({ length: 784 }, (_, i) => (i % 28 === 3 ? 1 : 0.5));
    const png = decode(contactSheet([grey(28, 28, pixels, "a thin seven")]));
    expect([png.width, png.height, png.channels]).toEqual([28 * 4 + 20, 28 * 4 + 10 + 20, 3]);
    const at = (x: number, y: number): number => png.data[(y * png.width + x) * 3]!;
    expect([at(10, 10), at(21, 10), at(22, 10), at(25, 121), at(26, 121)]).toEqual([128, 128, 255, 255, 128]);
    const left = 10 + Math.floor((112 - (12 * ADVANCE - 1)) / 2);
    expect(readText(png, left, 10 + 112 + 3, 12)).toBe("a thin seven");
  });

  it("clamps values and takes what is not a number as black", () => {
    const png = decode(contactSheet([grey(2, 1, [7, Number.NaN], "x")], { scale: 30 }));
    expect([png.data[(10 * png.width + 10) * 3], png.data[(10 * png.width + 40) * 3]]).toEqual([255, 0]);
  });

  it("keeps colours apart", () => {
    const picture: Picture = { width: 1, height: 1, channels: 3, pixels: [1, 0.2, 0], caption: "" };
    const png = decode(contactSheet([picture], { scale: 48 }));
    expect([...png.data.slice((10 * png.width + 10) * 3, (10 * png.width + 10) * 3 + 3)]).toEqual([255, 51, 0]);
  });

  it("folds text at spaces and long words at the width", () => {
    expect(foldText("the number seven, slanted", 18)).toEqual(["the number seven,", "slanted"]);
    expect(foldText("abcdefghij kl", 4)).toEqual(["abcd", "efgh", "ij", "kl"]);
    expect(foldText("", 4)).toEqual([]);
  });

  it("refuses pictures that do not hold what they say", () => {
    expect(() => contactSheet([])).toThrow("at least one");
    expect(() => contactSheet([grey(2, 2, [0, 0, 0], "x")])).toThrow("holds 3 values");
  });
});

describe("preview", () => {
  it("is plain ASCII without colour", () => {
    const text = preview([grey(8, 4, [...Array<number>(16).fill(1), ...Array<number>(16).fill(0.35)], "two bands")], { colour: false });
    expect(text).toBe("@@@@@@@@\n--------\ntwo\nbands\n\n");
  });

  it("draws two rows a line in colour, and closes every line", () => {
    const text = preview([grey(8, 2, [...Array<number>(8).fill(1), ...Array<number>(8).fill(0)], "x")], { colour: true });
    expect(text).toBe(`\u001b[38;5;231;48;5;16m${"▀".repeat(8)}\u001b[0m\nx\n\n`);
  });

  it("never exceeds the width of the terminal", () => {
    const digits = Array.from({ length: 10 }, (_, i) => grey(28, 28, Array<number>(784).fill(0.5), `the number ${i}, slanted`));
    for (const columns of [16, 40, 80, 200]) {
      for (const line of preview(digits, { colour: false, columns }).split("\n")) expect(line.length).toBeLessThanOrEqual(columns);
    }
    expect(preview(digits, { colour: false, columns: 80 }).split("\n").length).toBeLessThan(30);
  });

  it("shows a real digit as one can read it", () => {
    const idx = gunzipSync(readFileSync(join(import.meta.dirname, "../../examples/digits/data/images.idx3-ubyte.gz")));
    const pixels = Array.from(idx.subarray(16, 16 + 784), (v) => v / 255);
    expect(preview([grey(28, 28, pixels, "a handwritten seven")], { colour: false, across: 1 })).toMatchInlineSnapshot(`
      "


                 :*%@#-
               .@@@#*#@:
                -.   :@=
                     %@
                --+*@@@@
                #@@#@@-
                   :@@
                   @@=
                  :@#
                  .%-

      a handwritten seven

      "
    `);
  });

  it("gives colour only to a terminal that wants it", () => {
    expect(takesColour({ isTTY: true }, {})).toBe(true);
    expect(takesColour({ isTTY: true }, { NO_COLOR: "1" })).toBe(false);
    expect(takesColour({}, {})).toBe(false);
  });
});
