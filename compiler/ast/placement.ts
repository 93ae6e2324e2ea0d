// In: what stands in a body or a file. Out: what may stand there; the rest is reported and left out.
// The table below is the whole rule. `when` and `repeat` hold what the body around them may hold, so they are checked from there.

import type { Bag } from "../../grammar/diagnostic.ts";
import { suggest } from "../../grammar/suggest.ts";
import type { Item } from "./build.ts";
import type { Decl, Member, UseDecl } from "./nodes.ts";

type ItemKind = Item["kind"];

const network: readonly ItemKind[] = [
  "binding", "axes", "tokens", "task", "attribute", "embed", "head", "sample", "process", "layer", "fn", "mask", "score", "router", "route",
  "when_members", "repeat_members",
];
const model: readonly ItemKind[] = [...network, "network", "stage", "train"];
const parts: readonly ItemKind[] = ["binding", "weights", "axes", "method", "loss", "fn", "when_members", "repeat_members"];

const allowed: Readonly<Record<string, readonly ItemKind[]>> = {
  file: ["use", "layer", "fn", "mask", "score", "router", "route", "process", "tokenizer", "model", "variant", "stage", "train"],
  model,
  variant: model,
  network,
  layer: [...parts, "mask", "score"],
  router: parts,
  process: parts,
  tokenizer: [...parts, "layer"],
  stage: ["binding", "train", "when_members", "process", "sample"],
  train: ["binding", "when_members"],
};

/** Methods each declaration may have; where none are listed, any word will do. */
const methods: Readonly<Record<string, readonly string[]>> = {
  layer: ["forward"],
  router: ["choose"],
  tokenizer: ["encode", "decode", "quantize"],
};

/** The word an item starts with, as a reader writes it. */
const wordOf: Readonly<Partial<Record<ItemKind, string>>> = {
  weights: "param", axes: "axis", when_members: "when", repeat_members: "repeat",
};
const ownerOf: Readonly<Partial<Record<ItemKind, string>>> = {
  weights: "a layer", axes: "a layer", method: "a layer", loss: "a layer or a router", tokens: "a model", task: "a model",
  attribute: "a model", embed: "a model", head: "a model", sample: "a model", network: "a model", binding: "a declaration",
};

/** Members of a body. The bodies of `when` and `repeat` pass unchecked here, and are checked with the body around them. */
export function placeMembers(bag: Bag, owner: string, items: readonly Item[]): Member[] {
  if (owner === "when" || owner === "repeat") return items as Member[];
  return items.flatMap((item): Member[] => {
    if (!mayStand(bag, owner, item)) return [];
    if (item.kind === "when_members") {
      const otherwise = item.otherwise === null ? null : placeMembers(bag, owner, item.otherwise);
      return [{ ...item, members: placeMembers(bag, owner, item.members), otherwise }];
    }
    if (item.kind === "repeat_members") return [{ ...item, members: placeMembers(bag, owner, item.members) }];
    return [item as Member];
  });
}

/** Declarations of a file. */
export function placeDecls(bag: Bag, items: readonly Item[]): { uses: UseDecl[]; decls: Decl[] } {
  const uses: UseDecl[] = [];
  const decls: Decl[] = [];
  for (const item of items) {
    if (!mayStand(bag, "file", item)) continue;
    if (item.kind === "use") uses.push(item);
    else decls.push(item as Decl);
  }
  return { uses, decls };
}

function mayStand(bag: Bag, owner: string, item: Item): boolean {
  const here = owner === "file" ? "at the top of a file" : `in a \`${owner}\``;
  if (item.kind === "unknown_item") {
    unknownWord(bag, owner, here, item.word.text, item.word.span);
    return false;
  }
  const may = allowed[owner] ?? [];
  if (!may.includes(item.kind)) {
    const first = { ...item.span, end: item.span.start + firstWord(item).length };
    const at = "name" in item && item.kind === "binding" ? item.name.span : first;
    if (item.kind === "method" && owner !== "stage" && owner !== "train") {
      unknownWord(bag, owner, here, item.name.text, item.name.span);
      return false;
    }
    const fits = ownerOf[item.kind];
    bag.report("E0110", `${named(item)} cannot stand ${here}`, at, {
      help: fits === undefined ? "it belongs at the top of a file" : `it belongs in ${fits}`,
    });
    return false;
  }
  if (owner === "router" && item.kind === "binding" && item.name.text === "loss") {
    bag.report("E0110", "`loss = …` cannot stand in a `router`", item.name.span, { help: "a router's losses are written without `=`: `loss 0.01 * load_balance(choose)`" });
    return false;
  }
  if (item.kind === "method") {
    const words = methods[owner];
    if (words !== undefined && !words.includes(item.name.text)) {
      unknownWord(bag, owner, here, item.name.text, item.name.span);
      return false;
    }
  }
  return true;
}

function named(item: Item): string {
  if (item.kind === "binding") return `\`${item.name.text} = …\``;
  return `\`${firstWord(item)}\``;
}

function firstWord(item: Item): string {
  if (item.kind === "weights") return item.frozen ? "frozen" : "param";
  return wordOf[item.kind] ?? item.kind;
}

function unknownWord(bag: Bag, owner: string, here: string, word: string, at: Item["span"]): void {
  const words = [...(allowed[owner] ?? []).filter((kind) => kind !== "binding" && kind !== "method").map((kind) => wordOf[kind] ?? kind), ...(methods[owner] ?? [])];
  const near = suggest(word, words);
  const code = owner === "file" ? "E0108" : "E0111";
  const message = owner === "file" ? `\`${word}\` is not a declaration` : `\`${word}\` is not a member that can stand ${here}`;
  bag.report(code, message, at, {
    help: near === undefined ? undefined : `did you mean \`${near}\`?`,
    fixes: near === undefined ? [] : [{ title: `write \`${near}\``, edits: [{ span: at, text: near }] }],
  });
}
