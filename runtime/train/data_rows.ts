// captions.jsonl or text.jsonl as rows. In: the file's text, and what the model reads. Out: one checked row a line. Refuses, with the
// line's number: what is not JSON, a row without an image or a text that the model reads, an empty text. The first bad line is explained
// and the others are named.

import { HeddleError, messageOf } from "../error.ts";

export interface DataRow {
  /** 1-based line in the file, for errors. */
  readonly line: number;
  /** A path relative to the folder, or a place in the pack; absent in rows of text alone. */
  readonly image?: string | number;
  /** Empty where the row has every text in a field of its own. */
  readonly captions: readonly string[];
  readonly label: string | number | undefined;
  readonly split: string;
  /** The row as written: tasks may use fields of their own. */
  readonly values: Readonly<Record<string, unknown>>;
}

export const defaultSplit = "train";

/** What rows must have. */
export interface RowNeeds {
  readonly image: boolean;
  /** Names of the text streams: a row has a field for each of them, or captions. */
  readonly texts: readonly string[];
}

export function parseRows(text: string, place: string, needs?: RowNeeds): DataRow[] {
  const rows: DataRow[] = [];
  let first: HeddleError | undefined;
  const others: number[] = [];
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/);
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const row = parseRow(line, i + 1, needs);
    if (typeof row !== "string") {
      rows.push(row);
      continue;
    }
    if (first !== undefined) {
      others.push(i + 1);
      continue;
    }
    first = new HeddleError({
      code: "E0531",
      message: row,
      place: `${place}:${i + 1}`,
      help: `write one JSON object a line, such as ${exampleRow(needs)}`,
    });
  }
  if (first !== undefined) {
    if (others.length === 0) throw first;
    const named = others.slice(0, 8).join(", ");
    const more = others.length > 8 ? ` and ${others.length - 8} more` : "";
    throw new HeddleError({ code: first.code, message: `${first.message} (also bad: line ${named}${more})`, place: first.place, help: first.help });
  }
  return rows;
}

/** A row that would do, for help. */
export const exampleRow = (needs?: RowNeeds): string =>
  needs?.image === false ? `{"${needs.texts[0] ?? "text"}": "It was a dark night."}` : '{"image": "cat.png", "caption": "a cat"}';

/** The texts of a field: one or a list, none of them empty; undefined for anything else. */
export function textList(value: unknown): readonly string[] | undefined {
  const texts: unknown = typeof value === "string" ? [value] : value;
  return Array.isArray(texts) && texts.length > 0 && texts.every((each) => typeof each === "string" && each.trim() !== "") ? (texts as string[]) : undefined;
}

/** The row, or what is wrong with it. */
function parseRow(line: string, number: number, needs: RowNeeds | undefined): DataRow | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (thrown) {
    return `the line is not JSON: ${messageOf(thrown)}`;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "the line is not a JSON object";
  const row = value as Record<string, unknown>;
  const { image, index, caption, captions, label, split } = row;
  if (image !== undefined && index !== undefined) return "the row has both `image` and `index`";
  if ((needs?.image ?? true) && image === undefined && index === undefined) return "the row has neither `image` (a path) nor `index` (a place in the pack)";
  if (image !== undefined && (typeof image !== "string" || image === "")) return "`image` is not a path";
  if (index !== undefined && !(Number.isSafeInteger(index) && (index as number) >= 0)) return "`index` is not a whole number from 0";
  if (caption !== undefined && captions !== undefined) return "the row has both `caption` and `captions`";
  for (const name of needs?.texts ?? []) if (row[name] !== undefined && textList(row[name]) === undefined) return `\`${name}\` is neither text nor a list of texts`;
  const given: unknown = captions ?? (caption === undefined ? undefined : [caption]);
  const missing = needs === undefined ? "text" : needs.texts.find((name) => row[name] === undefined);
  if (given === undefined && missing !== undefined) return `the row has neither ${needs?.image === false ? `\`${missing}\` nor ` : ""}\`caption\`${needs?.image === false ? "" : " nor `captions`"}`;
  const texts = given ?? [];
  if (!Array.isArray(texts) || (given !== undefined && texts.length === 0)) return "`captions` is not a list with at least one caption";
  for (const each of texts as unknown[]) {
    if (typeof each !== "string") return "a caption is not text";
    if (each.trim() === "") return "a caption is empty";
  }
  if (label !== undefined && typeof label !== "string" && typeof label !== "number") return "`label` is neither text nor a number";
  if (split !== undefined && (typeof split !== "string" || split === "")) return "`split` is not a name";
  const found = image ?? index;
  return {
    line: number,
    ...(found === undefined ? {} : { image: found as string | number }),
    captions: texts as string[],
    label,
    split: split ?? defaultSplit,
    values: row,
  };
}
