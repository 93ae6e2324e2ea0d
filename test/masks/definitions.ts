// What every mask of the library means, written from its paper over places in a sample and not in the language: nested loops,
// windows by their first place, lists of parents. `layout` is the sample that the spec in docs/masks is drawn on.

export interface Place {
  /** In its document. */
  readonly pos: number;
  readonly doc: number;
  /** Name of the item: a field or a literal. */
  readonly item: string;
  /** Number of the item in the sample, and place in it. */
  readonly at: number;
  readonly i: number;
}

export interface Definition {
  readonly layout: readonly (readonly [item: string, count: number])[];
  readonly documents?: number;
  readonly sees: (q: Place, k: Place) => boolean;
}

type Sees = Definition["sees"];
const causal: Sees = (q, k) => k.pos <= q.pos;
const same = (a: Place, b: Place): boolean => a.at === b.at && a.doc === b.doc;
const among = (t: Place, ...items: string[]): boolean => items.includes(t.item);
const row = (t: Place, cols: number): number => Math.floor(t.i / cols);
const col = (t: Place, cols: number): number => t.i % cols;

/** First place of a window of `size` around `at` that is moved to lie inside 0 .. n - 1. */
const windowFrom = (at: number, size: number, n: number): number => Math.min(Math.max(at - Math.floor(size / 2), 0), n - size);
const inWindow = (at: number, other: number, size: number, n: number): boolean => {
  const from = windowFrom(at, size, n);
  return other >= from && other < from + size;
};

/** Coordinates of tokens that are laid out in this order. */
const orderOf = (n: number, visit: (put: (row: number, col: number) => void) => void): readonly (readonly [number, number])[] => {
  const out: [number, number][] = [];
  visit((r, c) => out.push([r, c]));
  if (out.length !== n) throw new Error(`${out.length} places of ${n}`);
  return out;
};

const tiles = orderOf(16, (put) => {
  for (let ty = 0; ty < 2; ty++) for (let tx = 0; tx < 2; tx++) for (let y = 0; y < 2; y++) for (let x = 0; x < 2; x++) put(ty * 2 + y, tx * 2 + x);
});
/** A quarter of the square, then the next: upper left, upper right, lower left, lower right, each in the same way. */
const morton = orderOf(16, (put) => {
  const square = (r: number, c: number, side: number): void => {
    if (side === 1) return put(r, c);
    const half = side / 2;
    for (const [y, x] of [[0, 0], [0, half], [half, 0], [half, half]] as const) square(r + y, c + x, half);
  };
  square(0, 0, 4);
});
const neighbours = (order: typeof tiles): Sees => (q, k) => {
  if (q.item === "pixels") return true;
  const [a, b] = [order[q.i] ?? [], order[k.i] ?? []];
  return k.item === "picture" && inWindow(a[0] ?? 0, b[0] ?? 0, 3, 4) && inWindow(a[1] ?? 0, b[1] ?? 0, 3, 4);
};

/** When PAR makes a patch of a 4 x 4 image in 2 x 2 regions: the first of each region in turn, then one place of every region at a time. */
const parTurn = new Map<string, number>();
for (let y = 0; y < 2; y++)
  for (let x = 0; x < 2; x++)
    for (let r = 0; r < 2; r++) for (let c = 0; c < 2; c++) parTurn.set(`${r * 2 + y},${c * 2 + x}`, y + x === 0 ? r * 2 + c : 3 + y * 2 + x);

const inImage = (rule: Sees): Sees => (q, k) => (q.item === "picture" && k.item === "picture" ? rule(q, k) : causal(q, k));
const frames = ["a", "b", "c"];
/** Where a token of a video stands in all of it, and its frame; undefined for the prompt. */
const video = (t: Place, size: number): { at: number; frame: number } | undefined => {
  const frame = frames.indexOf(t.item);
  return frame < 0 ? undefined : { at: frame * size + t.i, frame };
};
const parents: Readonly<Record<string, string | null>> = { a: null, b: "a", c: "b", d: "a" };
const ancestors = (node: string): string[] => [node, ...(parents[node] ? ancestors(parents[node]) : [])];

const draw = (text: number, patches: number): Definition["layout"] => [["caption", text], ["picture", patches]];
const line = (n: number): Definition["layout"] => [["<bos>", 1], ["line", n], ["<eos>", 1]];
const story = (size: number): Definition["layout"] => [["caption", 2], ["a", size], ["b", size], ["c", size]];
const told: Definition["layout"] = [["<bos>", 1], ["question", 3], ["picture", 4], ["<sep>", 1], ["reply", 3], ["<eos>", 1]];

/** By mask and, for a spec of several tasks, by task: `show_o/draw`. */
export const definitions: Readonly<Record<string, Definition>> = {
  full: { layout: draw(3, 6), sees: () => true },
  causal: { layout: line(8), sees: causal },
  document: { layout: draw(2, 4), documents: 2, sees: (q, k) => q.doc === k.doc },
  frames: { layout: [["a", 4], ["b", 4], ["c", 4]], sees: (q, k) => k.at <= q.at },
  hidden: {
    layout: [["<bos>", 1], ["caption", 3], ["picture", 4], ["<sep>", 1], ["answer", 3], ["<eos>", 1]],
    sees: (q, k) => causal(q, k) && (k.item !== "picture" || q.item === "picture"),
  },
  near: { layout: [["picture", 12]], sees: (q, k) => Math.max(Math.abs(row(q, 4) - row(k, 4)), Math.abs(col(q, 4) - col(k, 4))) <= 1 },
  prefix: { layout: [["<bos>", 1], ["question", 4], ["reply", 4], ["<eos>", 1]], sees: (q, k) => k.pos < 5 || causal(q, k) },
  scales: { layout: [["a", 1], ["b", 4], ["c", 9]], sees: (q, k) => k.at <= q.at },
  scale_causal: {
    layout: [["<bos>", 1], ["caption", 3], ["a", 1], ["b", 4], ["c", 9]],
    sees: (q, k) => (among(q, "a", "b", "c") && among(k, "a", "b", "c") ? k.at <= q.at : causal(q, k)),
  },
  sees: { layout: [["picture", 4], ["<bos>", 1], ["caption", 4], ["<eos>", 1]], sees: (q, k) => causal(q, k) && (q.item === "picture" || k.item !== "picture") },
  segment: { layout: draw(3, 6), sees: same },
  window: { layout: [["picture", 10]], sees: (q, k) => [-2, -1, 0, 1, 2].includes(k.pos - q.pos) },
  within: {
    layout: [["<bos>", 1], ["caption", 3], ["<boi>", 1], ["picture", 4], ["<eoi>", 1], ["answer", 3], ["<eos>", 1]],
    sees: (q, k) => causal(q, k) || (q.item === "picture" && k.item === "picture"),
  },
  // data_utils.py of BAGEL: (causal or one full/noise split) and not in another noise split. The first picture is the noise.
  bagel: {
    layout: [["<bos>", 1], ["caption", 3], ["picture", 4], ["picture", 4], ["<sep>", 1], ["answer", 3], ["<eos>", 1]],
    sees: (q, k) => (causal(q, k) || (same(q, k) && q.item === "picture")) && !(k.at === 2 && q.at !== 2),
  },
  block_causal: { layout: draw(4, 8), sees: (q, k) => k.pos < (Math.floor(q.pos / 4) + 1) * 4 },
  // Section 3.1 of BD3-LM: x_t at 0 .. 7, x_0 at 8 .. 15, blocks of 2.
  block_diffusion: {
    layout: [["picture", 8], ["picture", 8]],
    sees: (q, k) => {
      const [x, y] = [Math.floor((q.pos % 8) / 2), Math.floor((k.pos % 8) / 2)];
      const [qn, kn] = [q.pos < 8, k.pos < 8];
      return (x === y && qn === kn) || (x > y && qn && !kn) || (x >= y && !qn && !kn);
    },
  },
  cells: {
    layout: draw(2, 16),
    sees: inImage((q, k) => {
      const cell = (t: Place): number => [0, 1, 2, 3].findIndex((n) => Math.floor(row(t, 4) / 2) === Math.floor(n / 2) && Math.floor(col(t, 4) / 2) === n % 2);
      return cell(k) <= cell(q);
    }),
  },
  chunked: { layout: draw(4, 8), sees: (q, k) => Math.floor(q.pos / 4) === Math.floor(k.pos / 4) },
  dilated_window: { layout: [["picture", 12]], sees: (q, k) => [-4, -2, 0, 2, 4].includes(k.pos - q.pos) },
  drafts: {
    layout: [["<bos>", 1], ["prompt", 3], ["chains", 9], ["<eos>", 1]],
    sees: (q, k) => causal(q, k) && (k.pos < 4 || (q.item === "chains" && k.item === "chains" && Math.floor((q.pos - 4) / 3) === Math.floor((k.pos - 4) / 3)) || q.pos === k.pos),
  },
  // Intervals of the text that goes with each image, as in Flamingo's masked cross-attention.
  flamingo: {
    layout: [["a", 4], ["one", 3], ["b", 4], ["<say>", 1], ["two", 3], ["<eos>", 1]],
    sees: (q, k) => (k.item === "a" && q.pos >= 4 && q.pos < 7) || (k.item === "b" && q.pos >= 11),
  },
  frame_causal: {
    layout: [["<bos>", 1], ["caption", 3], ["a", 4], ["b", 4], ["c", 4]],
    sees: (q, k) => (frames.includes(q.item) && frames.includes(k.item) ? frames.indexOf(k.item) <= frames.indexOf(q.item) : causal(q, k)),
  },
  global_window: { layout: draw(5, 8), sees: (q, k) => Math.abs(q.pos - k.pos) <= 2 || [0, 6, 12].includes(q.pos) || [0, 6, 12].includes(k.pos) },
  grouped: {
    layout: draw(2, 9),
    sees: inImage((q, k) => {
      const turn = [3, 8, 4, 0, 5, 1, 6, 2, 7];
      return (turn[k.i] ?? NaN) <= (turn[q.i] ?? NaN);
    }),
  },
  morton_natten: { layout: [["picture", 16], ["pixels", 2]], sees: neighbours(morton) },
  tiled_natten: { layout: [["picture", 16], ["pixels", 2]], sees: neighbours(tiles) },
  nar: {
    layout: draw(2, 16),
    sees: inImage((q, k) => {
      const fromCorner = (t: Place): number => Math.abs(row(t, 4) - 0) + Math.abs(col(t, 4) - 0);
      return fromCorner(k) <= fromCorner(q);
    }),
  },
  natten: { layout: [["picture", 25]], sees: (q, k) => inWindow(row(q, 5), row(k, 5), 3, 5) && inWindow(col(q, 5), col(k, 5), 3, 5) },
  noise_hidden: {
    layout: [["<bos>", 1], ["a", 4], ["b", 4], ["<sep>", 1], ["caption", 3], ["<eos>", 1]],
    sees: (q, k) => (among(k, "a", "b") ? k.item === q.item : causal(q, k)),
  },
  packed: { layout: line(4), documents: 2, sees: (q, k) => q.doc === k.doc && q.pos - k.pos >= 0 && q.pos - k.pos < 3 },
  packed_causal: { layout: line(4), documents: 2, sees: (q, k) => q.doc === k.doc && causal(q, k) },
  par: {
    layout: draw(2, 16),
    sees: inImage((q, k) => (parTurn.get(`${row(k, 4)},${col(k, 4)}`) ?? NaN) <= (parTurn.get(`${row(q, 4)},${col(q, 4)}`) ?? NaN)),
  },
  shared_prefix: {
    layout: [["<bos>", 1], ["prompt", 3], ["<say>", 1], ["one", 2], ["<eos>", 1], ["<say>", 1], ["two", 3], ["<eos>", 1]],
    sees: (q, k) => {
      const answer = (t: Place): number => (t.pos < 4 ? 0 : t.pos < 8 ? 1 : 2);
      return answer(k) === answer(q) ? causal(q, k) : answer(k) === 0 && answer(q) > 0;
    },
  },
  // Text to image: text is causal, image tokens see all text and all of the image. Image to text: causal, and all see the image.
  "show_o/draw": { layout: [["<t2i>", 1], ["caption", 3], ["<soi>", 1], ["picture", 4]], sees: (q, k) => q.item === "picture" || causal(q, k) },
  "show_o/tell": {
    layout: [["<mmu>", 1], ["<soi>", 1], ["picture", 4], ["<eoi>", 1], ["caption", 3], ["<eos>", 1]],
    sees: (q, k) => k.item === "picture" || causal(q, k),
  },
  sink_window: { layout: line(8), sees: (q, k) => causal(q, k) && (k.pos === 0 || q.pos - k.pos <= 2) },
  sliding_window: { layout: line(8), sees: (q, k) => [0, 1, 2].includes(q.pos - k.pos) },
  // Tiles of 2 x 2 in an image of 6 x 6; the window is 2 tiles high and 1 wide.
  sta_2d: {
    layout: draw(2, 36),
    sees: (q, k) => {
      if (q.item === "caption" || k.item === "caption") return true;
      const tile = (n: number): number => Math.floor(n / 2);
      return inWindow(tile(row(q, 6)), tile(row(k, 6)), 2, 3) && inWindow(tile(col(q, 6)), tile(col(k, 6)), 1, 3);
    },
  },
  // Three frames of 2 x 4 in tiles of 1 x 2 x 2; the window is 2 frames, 1 tile high and 1 wide.
  sta_3d: {
    layout: story(8),
    sees: (q, k) => {
      const [a, b] = [video(q, 8), video(k, 8)];
      if (!a || !b) return true;
      const tile = (n: number): number => Math.floor(n / 2);
      return inWindow(a.frame, b.frame, 2, 3) && inWindow(tile(row(q, 4)), tile(row(k, 4)), 1, 1) && inWindow(tile(col(q, 4)), tile(col(k, 4)), 1, 2);
    },
  },
  // One frame of 6 tokens, rounded down to a multiple of 3; the first frame is a sink.
  svg_spatial: {
    layout: story(6),
    sees: (q, k) => {
      const [a, b] = [video(q, 6), video(k, 6)];
      return !a || !b || b.frame === 0 || Math.abs(a.at - b.at) < Math.floor((1 * 6) / 3) * 3;
    },
  },
  svg_temporal: {
    layout: story(6),
    sees: (q, k) => {
      const [a, b] = [video(q, 6), video(k, 6)];
      return !a || !b || Math.abs((a.at % 6) - (b.at % 6)) < Math.floor((1 * 6) / 3);
    },
  },
  transfusion: {
    layout: [["<bos>", 1], ["caption", 3], ["<boi>", 1], ["picture", 4], ["<eoi>", 1], ["answer", 3], ["<eos>", 1]],
    sees: (q, k) => causal(q, k) || (q.item === "picture" && k.item === "picture"),
  },
  tree: {
    layout: [["<bos>", 1], ["prompt", 2], ["a", 2], ["b", 2], ["c", 2], ["d", 2]],
    sees: (q, k) => causal(q, k) && (k.pos < 3 || (q.item in parents && ancestors(q.item).includes(k.item))),
  },
  visible: { layout: told, sees: (q, k) => causal(q, k) && (q.item !== "picture" || k.item === "picture") },
  visibility: { layout: told, sees: (q, k) => causal(q, k) && (q.item !== "picture" || k.item === "picture") },
};

export function placesOf(d: Definition): Place[] {
  return Array.from({ length: d.documents ?? 1 }, (_, doc) => doc).flatMap((doc) => {
    let pos = 0;
    return d.layout.flatMap(([item, count], at) => Array.from({ length: count }, (_, i) => ({ pos: pos++, doc, item, at, i })));
  });
}
