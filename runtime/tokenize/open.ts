// The choice of a text tokenizer by a stream's description. In: the description, a reader of tokenizer files. Out: a TextTokenizer.

import { bpeTokenizer } from "./bpe.ts";
import { byteTokenizer } from "./bytes.ts";
import { idTokenizer } from "./ids.ts";
import type { TextTokenizer } from "./text.ts";

export type TokenizerSpec = { readonly kind: "bytes" } | { readonly kind: "ids" } | { readonly kind: "bpe"; readonly file: string };

/** `read` gives the text of a tokenizer file; `vocab` bounds `ids` streams. */
export async function openTokenizer(spec: TokenizerSpec, vocab: number, read: (file: string) => Promise<string>): Promise<TextTokenizer> {
  switch (spec.kind) {
    case "bytes":
      return byteTokenizer();
    case "ids":
      return idTokenizer(vocab);
    case "bpe":
      return bpeTokenizer(await read(spec.file), spec.file);
  }
}
