// Byte-pair and other subword tokenizers from a Hugging Face `tokenizer.json`, through @huggingface/tokenizers (Node and page).
// In: the file's text. Out: a TextTokenizer. Refuses a file it cannot read, text with a character outside the vocabulary, and
// never reads a special token out of text: the library gets the file without its special tokens, they are kept here.

import { Tokenizer } from "@huggingface/tokenizers";
import { HeddleError, messageOf } from "../error.ts";
import { checkId, checkWellFormed, specialIds, type TextTokenizer } from "./text.ts";

/** Stands for "unknown" where the file has no such token: the library would drop unknown characters silently. */
const noToken = "\0unknown";
const kinds: readonly unknown[] = ["BPE", "WordPiece", "Unigram"];

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

export function bpeTokenizer(text: string, place: string): TextTokenizer {
  const file = parse(text, place);
  const added = addedTokens(file, place);
  const specials = new Map(added.filter((token) => token.special).map((token) => [token.content, token.id]));
  const bySpecialId = new Set(specials.values());
  const model = file["model"] as Record<string, unknown>;
  const unknownToken = typeof model["unk_token"] === "string" ? model["unk_token"] : noToken;
  let inner: Tokenizer;
  let highest = -1;
  try {
    // A post-processor would add <s> and </s>; the task's template says where specials stand.
    inner = new Tokenizer({ ...file, model: { ...model, unk_token: unknownToken }, added_tokens: added.filter((token) => !token.special), post_processor: null }, {});
    for (const id of inner.get_vocab(true).values()) highest = Math.max(highest, id);
    inner.encode("a");
  } catch (thrown) {
    throw malformed(place, messageOf(thrown), thrown);
  }
  for (const token of added) highest = Math.max(highest, token.id);
  if (highest < 0) throw malformed(place, "its vocabulary is empty");
  const vocab = highest + 1;
  const unknown = inner.token_to_id(unknownToken) ?? specials.get(unknownToken);

  const idsOf = (piece: string): number[] | undefined => {
    const { ids } = inner.encode(piece, { add_special_tokens: false });
    return ids.some((id: number) => !Number.isInteger(id) || id === unknown) ? undefined : ids;
  };

  return {
    vocab,
    encode(text) {
      checkWellFormed(text);
      const ids = idsOf(text);
      if (ids !== undefined) return Int32Array.from(ids);
      const culprit = [...text].find((character) => idsOf(character) === undefined);
      throw new HeddleError({
        code: "E0521",
        message: culprit === undefined ? "the tokenizer cannot write this text" : `the tokenizer has no token for \`${culprit}\` (U+${(culprit.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")})`,
        place: JSON.stringify(text.slice(0, 60)),
        help: "drop or replace that character, or use a byte-level tokenizer, which can write any text",
      });
    },
    decode(ids) {
      const plain: number[] = [];
      for (const id of ids) {
        checkId(id, vocab);
        if (!bySpecialId.has(id)) plain.push(id);
      }
      return plain.length === 0 ? "" : inner.decode(plain, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
    },
    special: specialIds(specials),
  };
}

function parse(text: string, place: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw malformed(place, `it is not JSON (${messageOf(thrown)})`, thrown);
  }
  if (typeof value !== "object" || value === null || !("model" in value) || typeof value.model !== "object" || value.model === null) {
    throw malformed(place, "it has no `model`");
  }
  const kind = "type" in value.model ? value.model.type : undefined;
  if (!kinds.includes(kind)) throw malformed(place, `its model is of the kind ${JSON.stringify(kind)}, not one of ${kinds.join(", ")}`);
  if (!("vocab" in value.model)) throw malformed(place, "its model has no `vocab`");
  return value as Record<string, unknown>;
}

function addedTokens(file: Record<string, unknown>, place: string): AddedToken[] {
  const list = file["added_tokens"] ?? [];
  if (!Array.isArray(list)) throw malformed(place, "`added_tokens` is not a list");
  return list.map((token: unknown) => {
    const { id, content } = (token ?? {}) as Partial<AddedToken>;
    if (typeof content !== "string" || !Number.isInteger(id)) throw malformed(place, "an entry of `added_tokens` lacks its `id` or `content`");
    return token as AddedToken;
  });
}

function malformed(place: string, why: string, cause?: unknown): HeddleError {
  return new HeddleError({
    code: "E0520",
    message: `the tokenizer file cannot be used: ${why}`,
    place,
    help: "give a Hugging Face `tokenizer.json` (not `vocab.json` or `tokenizer_config.json`)",
    cause,
  });
}
