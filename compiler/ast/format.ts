// In: a source. Out: its canonical text: one statement a line, two blanks of indent, lines of at most 120 columns where they
// can be broken, neighbouring `=` under each other, comments and single blank lines kept. Formatting twice changes nothing; reading the result gives the same tree.
// A file with syntax errors is returned as it is, with the errors.

import { isFatal } from "../../grammar/diagnostic.ts";
import type { Diagnostic } from "../../grammar/diagnostic.ts";
import { parseFile } from "../../grammar/parse.ts";
import type { Source } from "../../grammar/source.ts";
import { beforeEquals, Comments, lineWidth } from "./format_comments.ts";
import type { Entry } from "./format_comments.ts";
import { ExprPrinter } from "./format_expr.ts";
import type { Decl, Expr, Ident, Member, Module, Param, TaskElement, TaskModifier, UseDecl } from "./nodes.ts";
import { parseModule } from "./parse_module.ts";
import { walk } from "./walk.ts";

export interface Formatted {
  readonly text: string;
  readonly diagnostics: readonly Diagnostic[];
}

export function format(source: Source): Formatted {
  const { module, diagnostics } = parseModule(source);
  if (diagnostics.some(isFatal)) return { text: source.text, diagnostics };
  return { text: print(module, source), diagnostics };
}

/** The canonical text of a tree; blank lines and comments come from the source it was read from. */
export function print(module: Module, source: Source): string {
  const items = [...module.uses, ...module.decls].sort((a, b) => a.span.start - b.span.start);
  return new Printer(source).file(items);
}

type Item = UseDecl | Decl | Member;

class Printer {
  private readonly source: Source;
  private readonly comments: Comments;
  private readonly expr: ExprPrinter;
  /** The text with blanks for comments, so that braces can be looked for. */
  private readonly bare: string;

  constructor(source: Source) {
    this.source = source;
    const comments = parseFile(source).comments;
    this.comments = new Comments(source, comments);
    let bare = "";
    for (const { span } of comments) bare += source.text.slice(bare.length, span.start) + " ".repeat(span.end - span.start);
    this.bare = bare + source.text.slice(bare.length);
    this.expr = new ExprPrinter(this.comments);
  }

  file(items: readonly Item[]): string {
    return this.comments.lines("", items.map((item) => this.entry(item, "")), this.source.text.length + 1);
  }

  private entry(item: Item, indent: string): Entry {
    return { span: item.span, bodyStart: this.firstBody(item), print: () => this.item(item, indent) };
  }

  private item(item: Item, indent: string): string {
    const value = (head: string, e: Expr): string => {
      const column = head.includes("\n") ? head.length - head.lastIndexOf("\n") - 1 : indent.length + head.length;
      return head + this.expr.pretty(e, indent, column);
    };
    switch (item.kind) {
      case "use":
        return this.use(item, indent);
      case "layer":
      case "router":
      case "model":
        return this.body(this.header(`${item.kind} ${item.name.text}`, item.params, indent, 2), item.members, item.span.end, indent);
      case "fn":
        return value(`${this.header(`fn ${item.name.text}`, item.params, indent, 3, true)} = `, item.body);
      case "route":
        return value(`${this.header(`route ${item.name.text}`, item.params, indent, 3)} = `, item.body);
      case "mask":
      case "score": {
        const subjects = item.subjects.length === 0 ? "" : `(${names(item.subjects)})`;
        return value(`${this.header(`${item.kind} ${item.name.text}`, item.params, indent, subjects.length + 3)}${subjects} = `, item.body);
      }
      case "process":
      case "tokenizer": {
        const on = item.kind === "process" && item.on.length > 0 ? ` on ${names(item.on)}` : "";
        const head = this.header(`${item.kind} ${item.name.text}`, item.params, indent, on.length + 3) + on;
        if (item.members !== null) return this.body(head, item.members, item.span.end, indent);
        return item.value === null ? head : value(`${head} = `, item.value);
      }
      case "variant":
        return this.body(`variant ${item.name.text} of ${item.base.text}`, item.members, item.span.end, indent);
      case "stage":
      case "network":
        return this.body(`${item.kind} ${item.name.text}`, item.members, item.span.end, indent);
      case "train":
        return this.body("train", item.members, item.span.end, indent);
      case "binding": {
        const index = item.index === null ? "" : `[${this.expr.pretty(item.index, indent, indent.length)}]`;
        return value(`${item.name.text}${index}${beforeEquals}= `, item.value);
      }
      case "weights":
        return this.weights(item, indent);
      case "axes": {
        const defs = item.axes.map((def) => value(`${def.name.text} = `, def.size));
        return this.series("axis ", defs, "", indent);
      }
      case "method":
        return value(`${item.name.text} ${this.inputs(item.inputs)} = `, item.body);
      case "loss":
        return value("loss ", item.value);
      case "when_members":
        return this.when(item, indent);
      case "repeat_members":
        return this.braces(`repeat ${item.index.text} in ${this.expr.pretty(item.range, indent, indent.length + 12)}`, item.members, item.span.end, indent);
      case "tokens":
        return value(`tokens ${item.name.text}${beforeEquals}= `, item.value);
      case "embed":
      case "head":
      case "sample":
        return value(`${item.kind} ${item.stream.text}${beforeEquals}= `, item.value);
      case "attribute": {
        const head = `attribute ${item.name.text}: ${kind(item.attributeKind)}`;
        return item.fallback === null ? head : value(`${head} = `, item.fallback);
      }
      case "task": {
        const head = `${this.header(`task ${item.name.text}`, item.fields, indent, 2)}${beforeEquals}=`;
        return this.layout(head, item.layout, indent);
      }
    }
  }

  private use(item: UseDecl, indent: string): string {
    const head = `use ${item.path.map((part) => part.text).join(".")}`;
    if (item.names === null) return head;
    const parts = item.names.map((one) => one.name.text === one.local.text && one.name === one.local ? one.name.text : `${one.name.text} as ${one.local.text}`);
    const flat = `${head} { ${parts.join(", ")} }`;
    return indent.length + flat.length <= lineWidth ? flat : `${head} {\n${parts.map((part) => `${indent}  ${part}`).join(",\n")}\n${indent}}`;
  }

  /** Name and parameters; an empty list stands only where the grammar wants one. `room` is what follows on the line. */
  private header(head: string, params: readonly Param[], indent: string, room: number, always = false): string {
    if (params.length === 0) return always ? `${head}()` : head;
    const flat = params.map((one) => this.param(one));
    const text = `${head}(${flat.join(", ")})`;
    if (indent.length + text.length + room <= lineWidth && !text.includes("\n")) return text;
    return this.expr.listed(`${head}(`, flat.map((one) => () => one), ")", indent);
  }

  private param(one: Param): string {
    const axes = one.axes === null ? "" : `[${names(one.axes)}]`;
    const kinds = one.paramKind === null ? "" : `: ${kind(one.paramKind)}`;
    const fallback = one.fallback === null ? "" : ` = ${this.expr.pretty(one.fallback, "  ", 0)}`;
    return one.name.text + axes + kinds + fallback;
  }

  private inputs(inputs: readonly Param[]): string {
    const [only] = inputs;
    const single = inputs.length === 1 && only !== undefined && only.paramKind === null && only.fallback === null;
    const text = inputs.map((one) => this.param(one)).join(", ");
    return single ? text : `(${text})`;
  }

  private weights(item: Extract<Member, { kind: "weights" }>, indent: string): string {
    const head = item.frozen ? "frozen param " : "param ";
    const parts = item.weights.map((one) => one.name.text + (one.axes.length === 0 ? "" : `[${names(one.axes)}]`));
    const given = item.init ?? item.tie;
    const sign = item.init !== null ? " ~ " : " = ";
    const init = given === null ? "" : sign + this.expr.pretty(given, indent, indent.length + 20);
    const by = item.by === null ? "" : ` by ${this.expr.pretty(item.by, indent, indent.length + 20)}`;
    const condition = item.condition === null ? "" : ` when ${this.expr.pretty(item.condition, indent, indent.length + 20)}`;
    return this.series(head, parts, init + by + condition, indent);
  }

  /** Parts after a word, on one line or broken after commas, with the later lines under the first part. */
  private series(head: string, parts: readonly string[], tail: string, indent: string): string {
    const flat = head + parts.join(", ") + tail;
    if (indent.length + flat.length <= lineWidth || flat.includes("\n")) return flat;
    return head + parts.join(`,\n${indent}${" ".repeat(head.length)}`) + tail;
  }

  private when(item: Extract<Member, { kind: "when_members" }>, indent: string): string {
    const inner = item.members[item.members.length - 1];
    const firstEnd = item.otherwise === null ? item.span.end : item.otherwise[0]?.span.start ?? item.span.end;
    const head = `when ${this.expr.pretty(item.condition, indent, indent.length + 5)}`;
    const first = this.braces(head, item.members, this.closeAfter(inner?.span.end ?? item.condition.span.end, firstEnd), indent);
    if (item.otherwise === null) return first;
    const [only] = item.otherwise;
    if (item.otherwise.length === 1 && only?.kind === "when_members" && only.doc === null) return `${first} else ${this.when(only, indent)}`;
    return `${first} ${this.braces("else", item.otherwise, item.span.end, indent)}`;
  }

  /** Offset of the `}` that closes a body whose last member ends at `from`. */
  private closeAfter(from: number, limit: number): number {
    const at = this.bare.indexOf("}", from);
    return at < 0 || at > limit ? limit : at;
  }

  /** A body: on one line where it was written on one and fits, else a member a line. */
  private body(head: string, members: readonly Member[], end: number, indent: string): string {
    const first = members[0];
    if (first === undefined) return this.braces(head, members, end, indent);
    const open = this.bare.lastIndexOf("{", first.span.start);
    const inner = { source: this.source.path, start: open, end };
    const nested = members.some((member) => this.firstBody(member) !== undefined);
    if (!nested && !this.source.text.slice(open, end).includes("\n") && !this.comments.anyIn(inner)) {
      const text = `${head} { ${members.map((member) => this.item(member, indent)).join("; ")} }`.replaceAll(beforeEquals, " ");
      if (!text.slice(head.length).includes("\n") && indent.length + text.length <= lineWidth) return text;
    }
    return this.braces(head, members, end, indent);
  }

  private braces(head: string, members: readonly Member[], end: number, indent: string): string {
    const lines = this.comments.lines(`${indent}  `, members.map((member) => this.entry(member, `${indent}  `)), end);
    return lines === "" ? `${head} {}` : `${head} {\n${lines}${indent}}`;
  }

  /** Where the first thing inside begins that is printed line by line: a body of members, a block, the cases of `by`. */
  private firstBody(item: Item): number | undefined {
    if ("members" in item && item.members !== null) return this.bare.lastIndexOf("{", item.members[0]?.span.start ?? item.span.end);
    let found: number | undefined;
    walk(item, (node) => {
      if (found !== undefined) return false;
      if ((node.kind === "block" && (node.statements.length > 0 || this.comments.anyIn(node.span))) || node.kind === "by") found = node.span.start;
      return found === undefined;
    });
    return found;
  }

  // -------------------------------------------------------------- tasks

  private layout(head: string, elements: readonly TaskElement[], indent: string): string {
    const parts = this.texts(elements, indent);
    const flat = `${head} ${parts.join(" ")}`;
    if (indent.length + flat.length <= lineWidth) return flat;
    let line = `${indent}    `;
    let text = `${head}\n`;
    parts.forEach((part, i) => {
      // A line may not start with a group: it would read as the end of the task.
      if (i > 0 && line.length + part.length > lineWidth && !part.startsWith("(")) {
        text += `${line.trimEnd()}\n`;
        line = `${indent}    `;
      }
      line += `${part} `;
    });
    return text + line.trimEnd();
  }

  private texts(all: readonly TaskElement[], indent: string): string[] {
    // A stream without a field in front of a group: the group would read as its fields.
    return all.map((one, n) => {
      const text = this.element(one, indent);
      return one.kind === "segment" && one.args.length === 0 && all[n + 1]?.kind === "group" ? `${text}()` : text;
    });
  }

  private element(one: TaskElement, indent: string): string {
    switch (one.kind) {
      case "literal_token":
        return `<${one.name.text}>${one.args.length === 0 ? "" : `(${this.expr.args(one.args, indent)})`}`;
      case "segment":
        return `${one.role} ${this.modifiers(one.modifiers, indent)}${one.stream.text}${one.args.length === 0 ? "" : `(${this.expr.args(one.args, indent)})`}`;
      case "group":
        return `${one.role === null ? "" : `${one.role} `}${this.modifiers(one.modifiers, indent)}(${this.texts(one.elements, indent).join(" ")})`;
      case "repeat_elements":
        return `{ ${this.texts(one.elements, indent).join(" ")} }*`;
      case "choice":
        return one.options.map((option) => this.texts(option, indent).join(" ")).join(" | ");
    }
  }

  private modifiers(all: readonly TaskModifier[], indent: string): string {
    return all.map((one) => `${one.name.text}(${this.expr.args(one.args, indent)}) `).join("");
  }
}

function names(all: readonly Ident[]): string {
  return all.map((one) => one.text).join(", ");
}

function kind(one: { readonly name: Ident; readonly list: boolean }): string {
  return one.list ? `[${one.name.text}]` : one.name.text;
}
