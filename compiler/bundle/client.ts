// The typed client of a bundle: `index.js` and `index.d.ts`, one method a task, fields typed by their streams.
// In: ModelSpec. Out: two texts, written with ts-morph. Field and task names come from the spec, whose grammar makes them
// identifiers; names that TypeScript reserves are quoted.

import { Project, type SourceFile, VariableDeclarationKind } from "ts-morph";
import type { ModelSpec, TaskSpec } from "../plan/manifest.ts";

export interface ClientFiles {
  readonly js: string;
  readonly dts: string;
}

const pascal = (name: string): string => name.replace(/(^|_)([a-z0-9])/g, (_, __, c: string) => c.toUpperCase());

export function writeClient(spec: ModelSpec): ClientFiles {
  const project = new Project({ useInMemoryFileSystem: true, compilerOptions: { declaration: false } });
  const dts = project.createSourceFile("index.d.ts", header(spec));
  const js = project.createSourceFile("index.js", header(spec));
  writeTypes(dts, spec);
  writeCode(js, spec);
  dts.formatText({ indentSize: 2 });
  js.formatText({ indentSize: 2 });
  return { js: js.getFullText(), dts: dts.getFullText() };
}

const header = (spec: ModelSpec): string => `// Client of the model \`${spec.name}\`, written by \`heddle build\`. Do not edit.\n`;

function fieldType(spec: ModelSpec, task: TaskSpec, field: string): string {
  const stream = spec.streams.find((s) => s.name === task.fields.find((f) => f.name === field)?.stream);
  return stream?.kind === "text" ? "string" : "Image";
}

/** Fields of a kind, each once; one that is shown after it was predicted need not be given. */
function fieldsOf(task: TaskSpec, kind: "given" | "predict"): string[] {
  const first = task.items.filter((x, at) => x.kind !== "literal" && task.items.findIndex((y) => y.kind !== "literal" && y.field === x.field && (kind === "given" || y.kind === kind)) === at);
  return first.flatMap((i) => (i.kind === kind || (kind === "given" && i.kind === "beside") ? [i.field] : []));
}

function writeTypes(file: SourceFile, spec: ModelSpec): void {
  file.addInterface({
    name: "Image",
    isExported: true,
    docs: ["Numbers from 0 to 1, row by row, channels last."],
    properties: [
      { name: "height", type: "number", isReadonly: true },
      { name: "width", type: "number", isReadonly: true },
      { name: "channels", type: "number", isReadonly: true },
      { name: "data", type: "Float32Array", isReadonly: true },
    ],
  });
  for (const s of spec.streams) {
    const text = s.kind === "text";
    file.addInterface({
      name: `${pascal(s.name)}Sampler`,
      isExported: true,
      docs: [`How the stream \`${s.name}\` is sampled; what is left out is as in the spec.`],
      properties: [
        { name: "kind", hasQuestionToken: true, type: text ? `"greedy" | "temperature" | "top_k" | "nucleus"` : `"ddim" | "euler" | "heun"` },
        ...(text ? ["p", "k", "temperature", "max"] : ["steps", "guidance", "clip"]).map((name) => ({ name, hasQuestionToken: true, type: "number" })),
      ],
    });
  }
  file.addInterface({
    name: "RunOptions",
    isExported: true,
    properties: [
      { name: "seed", hasQuestionToken: true, type: "number" },
      { name: "samplers", hasQuestionToken: true, type: `{ ${spec.streams.map((s) => `${s.name}?: ${pascal(s.name)}Sampler`).join("; ")} }` },
      { name: "progress", hasQuestionToken: true, type: "(field: string, done: number, total: number) => void" },
      { name: "signal", hasQuestionToken: true, type: "AbortSignal" },
    ],
  });
  for (const task of spec.tasks)
    for (const [kind, suffix] of [["given", "Given"], ["predict", "Result"]] as const)
      file.addInterface({
        name: pascal(task.name) + suffix,
        isExported: true,
        properties: fieldsOf(task, kind).map((name) => ({ name, type: fieldType(spec, task, name), isReadonly: kind === "predict" })),
      });
  file.addClass({
    name: pascal(spec.name),
    isExported: true,
    hasDeclareKeyword: true,
    methods: [
      ...spec.tasks.flatMap((task) => {
        const given = `${pascal(task.name)}Given`;
        const result = `${pascal(task.name)}Result`;
        return [
          { name: task.name, parameters: [{ name: "fields", type: given }, { name: "options", hasQuestionToken: true, type: "RunOptions" }], returnType: `Promise<${result}>` },
          {
            name: `${task.name}Many`,
            docs: ["All requests as one batch: much faster than one by one."],
            parameters: [{ name: "requests", type: `readonly ${given}[]` }, { name: "options", hasQuestionToken: true, type: "RunOptions" }],
            returnType: `Promise<${result}[]>`,
          },
        ];
      }),
      { name: "destroy", docs: ["Free the device's buffers."], returnType: "Promise<void>" },
    ],
  });
  file.addInterface({
    name: "OpenOptions",
    isExported: true,
    properties: [
      { name: "adapter", hasQuestionToken: true, type: "string", docs: ["Part of an adapter's name, or `swiftshader` (Node only)."] },
      { name: "progress", hasQuestionToken: true, type: `(stage: "files" | "kernels", done: number, total: number) => void` },
    ],
  });
  file.addFunction({
    name: "open",
    isExported: true,
    hasDeclareKeyword: true,
    docs: ["Open the bundle that this file lies in."],
    parameters: [{ name: "options", hasQuestionToken: true, type: "OpenOptions" }],
    returnType: `Promise<${pascal(spec.name)}>`,
  });
}

function writeCode(file: SourceFile, spec: ModelSpec): void {
  file.addImportDeclaration({ moduleSpecifier: "./runtime/runtime.js", namedImports: ["load"] });
  file.addClass({
    name: pascal(spec.name),
    isExported: true,
    properties: [{ name: "#model" }],
    ctors: [{ parameters: [{ name: "model" }], statements: ["this.#model = model;"] }],
    methods: [
      ...spec.tasks.flatMap((task) => [
        { name: task.name, parameters: [{ name: "fields" }, { name: "options" }], statements: [`return this.#model.run(${JSON.stringify(task.name)}, fields, options);`] },
        { name: `${task.name}Many`, parameters: [{ name: "requests" }, { name: "options" }], statements: [`return this.#model.runMany(${JSON.stringify(task.name)}, requests, options);`] },
      ]),
      { name: "destroy", statements: ["return this.#model.destroy();"] },
    ],
  });
  file.addVariableStatement({ declarationKind: VariableDeclarationKind.Const, declarations: [{ name: "here", initializer: `new URL(".", import.meta.url)` }] });
  file.addFunction({
    name: "open",
    isExported: true,
    isAsync: true,
    parameters: [{ name: "options" }],
    statements: [`return new ${pascal(spec.name)}(await load(here, options));`],
  });
}
