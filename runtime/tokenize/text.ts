// What every text tokenizer is, and the refusals they share. Runs in Node and in a page.
// Text never turns into a special token: a caption that spells `<bos>` is the five characters.

import { HeddleError } from "../error.ts";

export interface TextTokenizer {
  /** Ids are 0 … vocab - 1, specials included. */
  readonly vocab: number;
  /** Refuses text it cannot write down without loss (E0521). */
  encode(text: string): Int32Array;
  /** The text of the ids; specials are left out. Refuses an id outside the vocabulary (E0522). */
  decode(ids: Iterable<number>): string;
  /** The id of a special such as `<bos>`; refuses an unknown one (E0522). */
  special(name: string): number;
}

/** Specials by name, with the refusal of an unknown one. */
export function specialIds(names: ReadonlyMap<string, number>): (name: string) => number {
  return (name) => {
    const id = names.get(name);
    if (id !== undefined) return id;
    const known = [...names.keys()].slice(0, 12).map((each) => `\`${each}\``).join(", ");
    throw new HeddleError({
      code: "E0522",
      message: `the tokenizer has no special token \`${name}\``,
      help: known === "" ? "this tokenizer has no special tokens" : `it has ${known}`,
    });
  };
}

/** Refuses an id that no token has. */
export function checkId(id: number, vocab: number): void {
  if (Number.isInteger(id) && id >= 0 && id < vocab) return;
  throw new HeddleError({
    code: "E0522",
    message: `there is no token ${id}: the tokenizer has ${vocab}`,
    help: "check that the weights and the tokenizer belong together",
  });
}

/** Refuses half a surrogate pair, which no encoding can keep. */
export function checkWellFormed(text: string): void {
  const at = text.search(/\p{Surrogate}/u); // in Unicode mode a pair is one character, so only halves match
  if (at < 0) return;
  throw new HeddleError({
    code: "E0521",
    message: `the text has half a character at position ${at + 1} (a lone surrogate, U+${text.charCodeAt(at).toString(16).toUpperCase()})`,
    place: JSON.stringify(text.slice(Math.max(0, at - 20), at + 20)),
    help: "the text was cut in the middle of a character: cut it elsewhere or drop that character",
  });
}
