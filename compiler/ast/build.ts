// In: the concrete tree of a file, its comments, and the syntax diagnostics so far. Out: the AST of every declaration and member,
// also around mistakes. `///` lines go to the declaration or member right below them. Knows no names and no kinds.

import type { CstNode } from "chevrotain";
import type { Comment } from "../../grammar/parse.ts";
import type { Span } from "../../grammar/source.ts";
import {
  argsOf, axisNamesOf, exprOf, identOf, paramKindOf, paramsOf, spanAt,
} from "./build_expr.ts";
import type { Building } from "./build_expr.ts";
import { inOrder, isNode, node, nodes, nodeSpan, token, tokens } from "./cst.ts";
import type {
  AxisDef, Doc, Expr, Ident, Member, ModelDecl, Param, TaskElement, TaskGroup, TaskModifier, TokenizerDecl, UseDecl,
  UseName, VariantDecl, WeightName,
} from "./nodes.ts";

/** Anything that stands between line ends; which of it may stand where is for placement.ts to say. */
export type Item = Member | UseDecl | ModelDecl | VariantDecl | TokenizerDecl | UnknownItem;

/** `modle small(d: axis) { … }`: a word that starts nothing, with a body. */
export interface UnknownItem {
  readonly kind: "unknown_item";
  readonly word: Ident;
  readonly span: Span;
}

export class Builder {
  private readonly b: Building;
  private readonly docs: ReadonlyMap<number, Doc>;
  /** Keeps what may stand in the body of such an owner. */
  private readonly place: (owner: string, items: readonly Item[]) => Member[];

  constructor(b: Building, comments: readonly Comment[], place: (owner: string, items: readonly Item[]) => Member[]) {
    this.b = b;
    this.docs = docsByTarget(b.source.text, comments);
    this.place = place;
  }

  items(at: CstNode): Item[] {
    return nodes(at, "item").flatMap((child): Item[] => {
      const [inner] = inOrder(child);
      if (inner === undefined || !isNode(inner)) return [];
      const span = nodeSpan(this.b.source.path, inner);
      if (span === undefined) return [];
      const item = this.item(inner, span);
      return item === undefined ? [] : [item];
    });
  }

  private item(at: CstNode, span: Span): Item | undefined {
    const b = this.b;
    const doc = this.docs.get(span.start) ?? null;
    const name = (n = 0): Ident => identOf(b, tokens(at, "Name")[n], span);
    const value = (): Expr => exprOf(b, node(at, "expression"), span);
    const params = (): Param[] => paramsOf(b, node(at, "params"));
    switch (at.name) {
      case "use":
        return this.use(at, span, doc);
      case "layer":
        return { kind: "layer", name: name(), params: params(), members: this.members("layer", at), doc, span };
      case "router":
        return { kind: "router", name: name(), params: params(), members: this.members("router", at), doc, span };
      case "model":
        return { kind: "model", name: name(), params: params(), members: this.members("model", at), doc, span };
      case "fn":
        return { kind: "fn", name: name(), params: params(), body: value(), doc, span };
      case "route":
        return { kind: "route", name: name(), params: params(), body: value(), doc, span };
      case "mask":
        return { kind: "mask", name: name(), ...this.lists(at), body: value(), doc, span };
      case "score":
        return { kind: "score", name: name(), ...this.lists(at), body: value(), doc, span };
      case "process": {
        const on = token(at, "On") === undefined ? [] : tokens(at, "Name").slice(1).map((one) => identOf(b, one, span));
        return { kind: "process", name: name(), params: params(), on, ...this.valueOrMembers("process", at, span), doc, span };
      }
      case "tokenizer":
        return { kind: "tokenizer", name: name(), params: params(), ...this.valueOrMembers("tokenizer", at, span), doc, span };
      case "variant":
        return { kind: "variant", name: name(), base: name(1), members: this.members("variant", at), doc, span };
      case "stage":
        return { kind: "stage", name: name(), members: this.members("stage", at), doc, span };
      case "train":
        return { kind: "train", members: this.members("train", at), doc, span };
      case "network":
        return { kind: "network", name: name(), members: this.members("network", at), doc, span };
      case "weights":
        return this.weights(at, span, doc);
      case "axes":
        return { kind: "axes", axes: nodes(at, "axisDef").map((one) => this.axisDef(one, span)), doc, span };
      case "binding": {
        const [first, second] = nodes(at, "expression");
        const indexed = token(at, "LSquare") !== undefined;
        const own = identOf(b, token(at, "Name") ?? token(at, "Identifier"), span);
        const index = indexed ? exprOf(b, first, span) : null;
        return { kind: "binding", name: own, index, value: exprOf(b, indexed ? second : first, span), doc, span };
      }
      case "method":
        return this.method(at, span, doc);
      case "loss":
        return { kind: "loss", value: value(), doc, span };
      case "whenMember":
        return this.when(at, span, doc);
      case "repeatMember":
        return { kind: "repeat_members", index: name(), range: value(), members: this.members("repeat", at), doc, span };
      case "streamMember": {
        if (token(at, "Tokens") !== undefined) return { kind: "tokens", name: name(), value: value(), doc, span };
        const kind = token(at, "Embed") !== undefined ? "embed" : token(at, "Head") !== undefined ? "head" : "sample";
        return { kind, stream: name(), value: value(), doc, span };
      }
      case "attribute": {
        const fallback = token(at, "Equals") === undefined ? null : value();
        return { kind: "attribute", name: name(), attributeKind: paramKindOf(b, node(at, "paramKind"), span), fallback, doc, span };
      }
      case "task":
        return { kind: "task", name: name(), fields: params(), layout: this.elements(at), doc, span };
      default:
        return undefined;
    }
  }

  private members(owner: string, at: CstNode, body = node(at, "members")): Member[] {
    return body === undefined ? [] : this.place(owner, this.items(body));
  }

  private valueOrMembers(owner: string, at: CstNode, span: Span): { value: Expr | null; members: Member[] | null } {
    const either = node(at, "valueOrMembers");
    const body = either === undefined ? undefined : node(either, "members");
    if (body !== undefined) return { value: null, members: this.members(owner, at, body) };
    return { value: exprOf(this.b, either === undefined ? undefined : node(either, "expression"), span), members: null };
  }

  private use(at: CstNode, span: Span, doc: Doc | null): UseDecl {
    const names = nodes(at, "useName").map((one): UseName => {
      const own = spanAt(this.b, one, span);
      const [name, local] = tokens(one, "Name").map((word) => identOf(this.b, word, own));
      const first = name ?? identOf(this.b, undefined, own);
      return { kind: "use_name", name: first, local: local ?? first, span: own };
    });
    const path = tokens(at, "Name").map((word) => identOf(this.b, word, span));
    return { kind: "use", path, names: token(at, "LCurly") === undefined ? null : names, doc, span };
  }

  /** Parameters and subjects: the last list, where none of its names has a kind, holds the subjects. */
  private lists(at: CstNode): { params: Param[]; subjects: Ident[] } {
    const lists = nodes(at, "params").map((list) => paramsOf(this.b, list));
    const last = lists[lists.length - 1];
    const bare = last !== undefined && last.length > 0
      && last.every((one) => one.paramKind === null && one.fallback === null && one.axes === null);
    const subjects = bare ? last.map((one) => one.name) : [];
    return { params: (bare ? lists.slice(0, -1) : lists).flat(), subjects };
  }

  private weights(at: CstNode, span: Span, doc: Doc | null): Member {
    const weights = nodes(at, "weightName").map((one): WeightName => {
      const own = spanAt(this.b, one, span);
      return { kind: "weight_name", name: identOf(this.b, token(one, "Name"), own), axes: axisNamesOf(this.b, node(one, "axisNames")) ?? [], span: own };
    });
    const expressions = nodes(at, "expression");
    const sign = token(at, "Tilde") ?? token(at, "Equals");
    const value = sign === undefined ? null : exprOf(this.b, expressions[0], span);
    const [first, second] = sign === undefined ? expressions : expressions.slice(1);
    const by = token(at, "By") === undefined ? null : exprOf(this.b, first, span);
    const condition = token(at, "When") === undefined ? null : exprOf(this.b, by === null ? first : second, span);
    const tied = token(at, "Equals") !== undefined;
    return {
      kind: "weights", frozen: token(at, "Frozen") !== undefined, weights,
      init: tied ? null : value, tie: tied ? value : null, by, condition, doc, span,
    };
  }

  private axisDef(at: CstNode, near: Span): AxisDef {
    const span = spanAt(this.b, at, near);
    return { kind: "axis_def", name: identOf(this.b, token(at, "Name"), span), size: exprOf(this.b, node(at, "expression"), span), span };
  }

  private method(at: CstNode, span: Span, doc: Doc | null): Item | undefined {
    const word = identOf(this.b, token(at, "Identifier"), span);
    const input = node(at, "methodInput");
    const lists = nodes(at, "params");
    const body = node(at, "valueOrMembers");
    const hasMembers = node(body ?? at, "members") !== undefined;
    // Without a body the parser has said what is missing, and nothing is known about the word.
    if (!hasMembers && (body === undefined || token(body, "Equals") === undefined)) return undefined;
    if (hasMembers || body === undefined || (input !== undefined && lists.length > 0)) return { kind: "unknown_item", word, span };
    const inputs = input === undefined ? lists.flatMap((list) => paramsOf(this.b, list)) : [this.input(input, span)];
    return { kind: "method", name: word, inputs, body: exprOf(this.b, node(body, "expression"), span), doc, span };
  }

  private input(at: CstNode, near: Span): Param {
    const span = spanAt(this.b, at, near);
    const axes = axisNamesOf(this.b, node(at, "axisNames"));
    return { kind: "param", name: identOf(this.b, token(at, "Name"), span), axes, paramKind: null, fallback: null, span };
  }

  private when(at: CstNode, span: Span, doc: Doc | null): Member {
    const [first, second] = nodes(at, "members");
    const nested = node(at, "whenMember");
    const members = this.members("when", at, first);
    const otherwise = nested !== undefined
      ? [this.when(nested, spanAt(this.b, nested, span), null)]
      : second === undefined ? null : this.members("when", at, second);
    return { kind: "when_members", condition: exprOf(this.b, node(at, "expression"), span), members, otherwise, doc, span };
  }

  // -------------------------------------------------------------- tasks

  private elements(at: CstNode): TaskElement[] {
    return nodes(at, "taskElement").flatMap((one) => {
      const element = this.element(one);
      return element === undefined ? [] : [element];
    });
  }

  private element(at: CstNode): TaskElement | undefined {
    const [child] = inOrder(at);
    if (child === undefined) return undefined;
    const span = spanAt(this.b, at);
    if (!isNode(child)) {
      const name: Ident = { kind: "ident", text: child.image.slice(1, -1), span: { ...span, start: span.start + 1, end: span.start + child.image.length - 1 } };
      const args = node(at, "args");
      return { kind: "literal_token", name, args: args === undefined ? [] : argsOf(this.b, args), span };
    }
    switch (child.name) {
      case "taskSegment":
        return this.segment(child, span);
      case "taskGroup":
        return this.group(child, span, null, []);
      case "taskRepeat":
        return { kind: "repeat_elements", elements: this.choices(child), span };
      default:
        return undefined;
    }
  }

  private segment(at: CstNode, span: Span): TaskElement {
    const role = token(at, "Given") !== undefined ? "given" : token(at, "Beside") !== undefined ? "beside" : "predict";
    const modifiers = nodes(at, "taskModifier").map((one): TaskModifier => {
      const own = spanAt(this.b, one, span);
      const args = node(one, "args");
      return { kind: "modifier", name: identOf(this.b, token(one, "Drop"), own), args: args === undefined ? [] : argsOf(this.b, args), span: own };
    });
    const group = node(at, "taskGroup");
    if (group !== undefined) return this.group(group, span, role, modifiers);
    const args = node(at, "args");
    const stream = identOf(this.b, token(at, "Name"), span);
    return { kind: "segment", role, modifiers, stream, args: args === undefined ? [] : argsOf(this.b, args), span };
  }

  private group(at: CstNode, span: Span, role: TaskGroup["role"], modifiers: readonly TaskModifier[]): TaskGroup {
    return { kind: "group", role, modifiers, elements: this.choices(at), span };
  }

  private choices(at: CstNode): TaskElement[] {
    const choices = node(at, "taskChoices");
    if (choices === undefined) return [];
    const options = nodes(choices, "taskSequence").map((one) => this.elements(one));
    const [only] = options;
    if (options.length === 1 && only !== undefined) return only;
    return [{ kind: "choice", options, span: spanAt(this.b, choices) }];
  }
}

/**
 * Doc lines above something, by the offset where that starts. Plain comments between are passed over;
 * a blank line between two doc lines leaves only those after it.
 */
function docsByTarget(text: string, comments: readonly Comment[]): Map<number, Doc> {
  const result = new Map<number, Doc>();
  let next = { start: -1, target: -1 };
  for (const comment of [...comments].reverse()) {
    const rest = /^\s*/.exec(text.slice(comment.span.end))?.[0].length ?? 0;
    const after = comment.span.end + rest;
    const target = after === next.start ? next.target : after;
    next = { start: comment.span.start, target };
    if (!comment.doc) continue;
    const line = comment.text.slice(3).replace(/^ /, "").trimEnd();
    const below = result.get(target);
    if (below === undefined) result.set(target, { text: line, span: comment.span });
    else if (!/\n[^\S\n]*\r?\n/.test(text.slice(comment.span.end, below.span.start))) {
      result.set(target, { text: `${line}\n${below.text}`, span: { ...below.span, start: comment.span.start } });
    }
  }
  return result;
}
