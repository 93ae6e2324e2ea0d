// THE import table: every folder (or group of files) of the product, what it holds, and what it may import. Order is the
// order of the pipeline. The tests here hold the code to it, and docs/architecture.md shows it.

export interface Layer {
  readonly name: string;
  /** Path prefixes, longest wins; a name with an extension is one file. */
  readonly paths: readonly string[];
  readonly holds: string;
  /** Names of layers it may import; its own files always. */
  readonly may: readonly string[];
  /** npm packages and `node` for Node's own modules. */
  readonly packages?: readonly string[];
}

const PLAN_DATA = ["plan", "half", "layout", "expr", "manifest", "schema"].map((f) => `compiler/plan/${f}.ts`);

export const layers: readonly Layer[] = [
  { name: "grammar", paths: ["grammar/"], holds: "text to syntax tree; positions, diagnostics, codes", may: [], packages: ["chevrotain", "fastest-levenshtein"] },
  { name: "compiler/ast", paths: ["compiler/ast/"], holds: "syntax nodes with spans, the formatter", may: ["grammar"], packages: ["chevrotain"] },
  { name: "compiler/dim", paths: ["compiler/dim/"], holds: "symbolic sizes: sums of products of named axes", may: [] },
  { name: "compiler/scalar", paths: ["compiler/scalar/"], holds: "the scalar language of masks, scores, losses and kernels", may: [] },
  { name: "compiler/graph", paths: ["compiler/graph/"], holds: "tensors with named axes: ops, inference, rewriting, the interpreter that defines meaning", may: ["grammar", "compiler/dim", "compiler/scalar"] },
  { name: "compiler/types", paths: ["compiler/types/"], holds: "the elaborator: names, axes, layers; the checked Model", may: ["grammar", "compiler/ast", "compiler/dim", "compiler/scalar", "compiler/graph"] },
  { name: "compiler/mask", paths: ["compiler/mask/"], holds: "what a mask means for tiles, caches and pictures, and what it lets through: proofs and witnesses", may: ["grammar", "compiler/dim", "compiler/scalar", "compiler/graph", "compiler/types"] },
  { name: "compiler/routing", paths: ["compiler/routing/"], holds: "which tokens go to which experts, as data and as pictures", may: ["compiler/dim", "compiler/types", "compiler/mask"] },
  { name: "compiler/autodiff", paths: ["compiler/autodiff/"], holds: "one gradient rule an op, the reverse sweep, rematerialisation", may: ["compiler/dim", "compiler/scalar", "compiler/graph"] },
  { name: "compiler/kernel", paths: ["compiler/kernel/"], holds: "loops, tiles and barriers: fusion, templates, verifier, interpreter, memory plan", may: ["compiler/dim", "compiler/scalar", "compiler/graph"] },
  { name: "plan data", paths: PLAN_DATA, holds: "plans and manifests as data, and their schema; all that ships with a runtime", may: [], packages: ["valibot"] },
  { name: "compiler/wgsl", paths: ["compiler/wgsl/"], holds: "kernels to WGSL text; decides nothing", may: ["compiler/scalar", "compiler/kernel", "plan data"] },
  { name: "compiler/plan", paths: ["compiler/plan/"], holds: "kernels to a Plan: bindings, memory, cost, hashes", may: ["compiler/dim", "compiler/scalar", "compiler/kernel", "compiler/wgsl", "plan data"] },
  { name: "compiler/lower", paths: ["compiler/lower/"], holds: "a Model to one graph a program: training, generation step, optimizer", may: ["grammar", "compiler/dim", "compiler/scalar", "compiler/graph", "compiler/types", "compiler/mask", "compiler/autodiff", "plan data"] },
  { name: "compiler/report", paths: ["compiler/report/"], holds: "diagnostics for a terminal and as JSON", may: ["grammar"], packages: ["picocolors"] },
  {
    name: "compiler",
    paths: ["compiler/passes.ts", "compiler/run_passes.ts", "compiler/compile.ts", "compiler/check.ts", "compiler/explain.ts", "compiler/index.ts"],
    holds: "THE list of passes, its runner, `check` and `compile`",
    may: ["grammar", "compiler/ast", "compiler/dim", "compiler/scalar", "compiler/graph", "compiler/types", "compiler/mask", "compiler/autodiff", "compiler/kernel", "plan data", "compiler/wgsl", "compiler/plan", "compiler/lower", "compiler/report"],
  },
  { name: "compiler/bundle", paths: ["compiler/bundle/"], holds: "a compiled model to the files of a bundle, with a typed client", may: ["compiler", "compiler/plan", "plan data"], packages: ["ts-morph"] },
  { name: "runtime/error", paths: ["runtime/error.ts"], holds: "the one exception a user can cause", may: [] },
  { name: "runtime/device", paths: ["runtime/device/"], holds: "adapters, limits, both error channels, device loss", may: ["runtime/error"], packages: ["node", "webgpu"] },
  { name: "runtime/exec", paths: ["runtime/exec/"], holds: "buffers, pipelines, executor, read-back", may: ["runtime/error", "runtime/device", "plan data"] },
  { name: "runtime/tokenize", paths: ["runtime/tokenize/"], holds: "text and images to tokens and back", may: ["runtime/error"], packages: ["@huggingface/tokenizers"] },
  { name: "runtime/sequence", paths: ["runtime/sequence/"], holds: "a task and a sample to a table of tokens; packing into rows", may: ["runtime/error", "plan data"] },
  { name: "runtime/random", paths: ["runtime/random/"], holds: "Philox on the host: every draw a function of seed and place", may: [] },
  { name: "runtime/weights", paths: ["runtime/weights/"], holds: "safetensors, and parameters by model path", may: ["runtime/error", "plan data"], packages: ["node"] },
  { name: "runtime/generate", paths: ["runtime/generate/"], holds: "the sampling state machine", may: ["runtime/error", "runtime/exec", "runtime/tokenize", "runtime/sequence", "runtime/random", "plan data"] },
  {
    name: "runtime/train",
    paths: ["runtime/train/"],
    holds: "data, batches, steps, checkpoints",
    may: ["runtime/error", "runtime/exec", "runtime/tokenize", "runtime/sequence", "runtime/random", "runtime/weights", "plan data"],
    packages: ["node", "fast-png"],
  },
  { name: "runtime/bundle", paths: ["runtime/bundle/"], holds: "opens a bundle: manifest, hashes, weights", may: ["runtime/error", "runtime/device", "runtime/exec", "runtime/generate", "runtime/weights", "plan data"], packages: ["valibot", "node"] },
  {
    name: "runtime",
    paths: ["runtime/index.ts"],
    holds: "the public runtime: `load`, `openDevice`",
    may: ["runtime/error", "runtime/device", "runtime/generate", "runtime/tokenize", "runtime/bundle", "plan data"],
  },
  { name: "cli", paths: ["cli/"], holds: "the `heddle` command", may: ["*"], packages: ["node", "commander", "cli-progress", "fast-png", "picocolors"] },
];

/** The layer of a file: the one with the longest matching prefix. */
export function layerOf(file: string): Layer | undefined {
  let best: { layer: Layer; length: number } | undefined;
  for (const layer of layers)
    for (const prefix of layer.paths) {
      const fits = prefix.endsWith("/") ? file.startsWith(prefix) : file === prefix;
      if (fits && prefix.length > (best?.length ?? 0)) best = { layer, length: prefix.length };
    }
  return best?.layer;
}

/** The table as docs/architecture.md shows it. */
export function layerTable(): string {
  const rows = layers.map((l) => `| ${l.name === "plan data" ? "`compiler/plan/{plan,layout,expr,manifest,schema}.ts` (plan data)" : `\`${l.name}\``} | ${l.holds} | ${l.may.map((m) => (m === "*" ? "everything" : m === "plan data" ? m : `\`${m}\``)).join(", ") || "nothing"} |`);
  return ["| Layer | Holds | May import |", "|---|---|---|", ...rows].join("\n");
}
