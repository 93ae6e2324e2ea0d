// Makes data/text.jsonl.gz and tokenizer.json from the Debian package r-cran-janeaustenr, which holds Jane Austen's novels as Project
// Gutenberg has them (public domain). In: the folder of the package's files. Out: rows of text in the order of the books, every twentieth
// stretch of them held out, and byte pairs learned from what is not. Same package, same bytes.
//
//   apt-get download r-cran-janeaustenr && dpkg-deb -x r-cran-janeaustenr_*.deb austen
//   node examples/moe-text/make_data.mjs austen/usr/lib/R/site-library/janeaustenr

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gunzipSync, gzipSync, inflateSync } from "node:zlib";

const BOOKS = ["prideprejudice", "sensesensibility"];
/** Ids of the tokenizer: 256 bytes, then merges. */
const VOCAB = 1024;
/** Most tokens of a row. With <bos> and <eos> it has 96 at most. */
const ROW = 94;
/** Rows that follow one another are held out together: the 20th of every 20 stretches of 8. */
const STRETCH = 8;
const HELD = 20;

// ---------------------------------------------------------------- the books, out of R's own format

/** The character vectors and lists of integers of a serialised R object (XDR, version 3), in the order in which they come. */
function readR(bytes) {
  let at = 14; // "X\n", version, two version numbers
  const native = bytes.readInt32BE(at);
  at += 4 + native;
  const symbols = [];
  const int = () => bytes.readInt32BE((at += 4) - 4);
  const text = () => {
    int();
    const length = int();
    at += Math.max(0, length);
    return length < 0 ? undefined : bytes.toString("utf8", at - length, at);
  };
  const item = () => {
    const flags = int();
    const type = flags & 255;
    const attributes = (flags & 512) !== 0;
    const finish = (value) => {
      const more = attributes ? item() : undefined;
      return more?.names ? Object.fromEntries(more.names.map((n, i) => [n, value[i]])) : value;
    };
    if (type === 254) return undefined; // NULL
    if (type === 255) return symbols[(flags >> 8) - 1];
    if (type === 1) {
      symbols.push(text());
      return symbols.at(-1);
    }
    if (type === 2) {
      // a pair list: attributes come first, then a tag, a value and the rest
      const own = attributes ? item() : undefined;
      const tag = (flags & 1024) !== 0 ? item() : undefined;
      const value = item();
      return { ...own, ...(tag === undefined ? {} : { [tag]: value }), ...item() };
    }
    if (type === 10 || type === 13) return finish(Array.from({ length: int() }, int));
    if (type === 16) return finish(Array.from({ length: int() }, text));
    if (type === 19) return finish(Array.from({ length: int() }, item));
    throw new Error(`an R object of type ${type}`);
  };
  return item();
}

/** Lines of a book. */
function readBook(folder, name) {
  const index = readR(gunzipSync(readFileSync(path.join(folder, "data/Rdata.rdx"))));
  const [start, length] = index.variables[name];
  const all = readFileSync(path.join(folder, "data/Rdata.rdb"));
  return readR(inflateSync(all.subarray(start + 4, start + length)));
}

/** Paragraphs without the lines' breaks; titles and the numbers of chapters are left out. */
function paragraphs(lines) {
  const first = lines.findIndex((line) => /^chapter (1|i)$/i.test(line.trim()));
  const last = lines.findLastIndex((line) => line.trim() !== "");
  return lines.slice(first, last + 1).join("\n").split(/\n\s*\n/)
    .map((p) => p.replace(/\s+/g, " ").trim())
    .filter((p) => p !== "" && !/^(chapter|volume) [0-9ivxl]+\.?$/i.test(p) && !/^(the end|finis|the end of .*)\.?$/i.test(p));
}

// ---------------------------------------------------------------- byte pairs

/** As the ByteLevel of Hugging Face cuts text before pairs are merged. */
const WORD = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** The character that stands for each byte (GPT-2). */
function alphabet() {
  const shown = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(shown(b) ? b : next++));
}
const CHARACTERS = alphabet();
const spell = (word) => [...Buffer.from(word, "utf8")].map((b) => CHARACTERS[b]);

/** Joins every pair of these two, from the left. */
function merge(parts, a, b) {
  for (let i = 1; i < parts.length; i++) if (parts[i - 1] === a && parts[i] === b) parts.splice(i - 1, 2, a + b);
}

/** The merges: always the commonest pair, of equal ones the one that sorts first. */
export function learnMerges(texts, count) {
  const words = new Map();
  for (const text of texts) for (const word of text.match(WORD) ?? []) words.set(word, (words.get(word) ?? 0) + 1);
  const pieces = [...words].map(([word, n]) => ({ n, parts: spell(word) }));
  const merges = [];
  while (merges.length < count) {
    const pairs = new Map();
    for (const { n, parts } of pieces) for (let i = 1; i < parts.length; i++) pairs.set(`${parts[i - 1]} ${parts[i]}`, (pairs.get(`${parts[i - 1]} ${parts[i]}`) ?? 0) + n);
    let best;
    for (const [pair, n] of pairs) if (best === undefined || n > best.n || (n === best.n && pair < best.pair)) best = { pair, n };
    if (best === undefined || best.n < 2) break;
    merges.push(best.pair);
    const [a, b] = best.pair.split(" ");
    for (const piece of pieces) merge(piece.parts, a, b);
  }
  return merges;
}

/** A tokenizer.json of Hugging Face. */
export function tokenizerFile(merges) {
  const pieces = [...CHARACTERS, ...merges.map((m) => m.replace(" ", ""))];
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0", truncation: null, padding: null, added_tokens: [], normalizer: null,
    pre_tokenizer: byteLevel, post_processor: null, decoder: byteLevel,
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab: Object.fromEntries(pieces.map((p, i) => [p, i])), merges },
  };
}

/** How many tokens a text has. */
function counter(merges) {
  const rank = new Map(merges.map((m, i) => [m, i]));
  const known = new Map();
  const tokensOf = (word) => {
    const parts = spell(word);
    for (;;) {
      let best = -1;
      for (let i = 1; i < parts.length; i++) {
        const r = rank.get(`${parts[i - 1]} ${parts[i]}`);
        if (r !== undefined && (best < 0 || r < rank.get(`${parts[best - 1]} ${parts[best]}`))) best = i;
      }
      if (best < 0) return parts.length;
      merge(parts, parts[best - 1], parts[best]);
    }
  };
  return (text) => (text.match(WORD) ?? []).reduce((n, word) => {
    if (!known.has(word)) known.set(word, tokensOf(word));
    return n + known.get(word);
  }, 0);
}

// ---------------------------------------------------------------- rows

/** Whole sentences where they fit, else words, joined to rows of at most ROW tokens. A paragraph's end is a line's end. */
function rowsOf(book, count) {
  const sentences = book.flatMap((p) => (p.match(/.+?[.!?;:,]["')_]*(?=\s|$)|.+$/g) ?? []).map((s, i, all) => s.trim() + (i === all.length - 1 ? "\n" : " ")));
  const rows = [];
  let row = "";
  for (const sentence of sentences) {
    const units = count(sentence) > ROW ? sentence.split(/(?<= )/) : [sentence];
    for (const unit of units) {
      if (row !== "" && count((row + unit).trim()) > ROW) {
        rows.push(row.trim());
        row = "";
      }
      row += unit;
    }
  }
  if (row.trim() !== "") rows.push(row.trim());
  return rows;
}

/** Rows and tokenizer. Pairs are learned from what is not held out: rows are made twice, first by the length of the text. */
export function makeData(folder) {
  const books = BOOKS.map((name) => paragraphs(readBook(folder, name)));
  const splitOf = (i) => (Math.floor(i / STRETCH) % HELD === HELD - 1 ? "valid" : "train");
  const rough = books.flatMap((book) => rowsOf(book, (text) => text.length / 3.2)).filter((_, i) => splitOf(i) === "train");
  const merges = learnMerges(rough, VOCAB - 256);
  const count = counter(merges);
  const rows = books.flatMap((book) => rowsOf(book, count)).map((text, i) => ({ text, split: splitOf(i) }));
  return { rows, merges, count };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const here = path.dirname(fileURLToPath(import.meta.url));
  const { rows, merges, count } = makeData(process.argv[2] ?? ".");
  mkdirSync(path.join(here, "data"), { recursive: true });
  const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  const packed = gzipSync(text, { level: 9 });
  packed[9] = 255; // the operating system, left open
  writeFileSync(path.join(here, "data/text.jsonl.gz"), packed);
  writeFileSync(path.join(here, "tokenizer.json"), `${JSON.stringify(tokenizerFile(merges))}\n`);
  const say = (split) => {
    const own = rows.filter((row) => row.split === split);
    const [bytes, tokens] = [own.reduce((n, row) => n + Buffer.byteLength(row.text), 0), own.reduce((n, row) => n + count(row.text), 0)];
    console.log(`${split}: ${own.length} rows, ${bytes} bytes, ${tokens} tokens, ${(bytes / tokens).toFixed(3)} bytes a token`);
  };
  say("train");
  say("valid");
  console.log(`${merges.length} merges, ${packed.length} bytes packed`);
}
