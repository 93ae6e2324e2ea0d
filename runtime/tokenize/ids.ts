// Tokens that are numbers already (synthetic tasks, other people's tokenizers): text is the numbers with spaces between.

import { HeddleError } from "../error.ts";
import { checkId, specialIds, type TextTokenizer } from "./text.ts";

export function idTokenizer(vocab: number): TextTokenizer {
  return {
    vocab,
    encode(text) {
      const words = text.split(/\s+/).filter((word) => word !== "");
      return Int32Array.from(words, (word) => {
        const id = Number(word);
        if (/^\d+$/.test(word) && id < vocab) return id;
        throw new HeddleError({
          code: "E0521",
          message: `\`${word}\` is not a token: this stream takes whole numbers from 0 to ${vocab - 1}`,
          place: JSON.stringify(text.slice(0, 60)),
          help: "write the ids with spaces between them",
        });
      });
    },
    decode(ids) {
      const words: number[] = [];
      for (const id of ids) {
        checkId(id, vocab);
        words.push(id);
      }
      return words.join(" ");
    },
    special: specialIds(new Map()),
  };
}
