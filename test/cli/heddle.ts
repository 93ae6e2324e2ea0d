// Runs the built command as a person would: a process of its own in a folder of its own. `npm test` builds before it tests.

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { encode } from "fast-png";

export const root = path.resolve(import.meta.dirname, "../..");
const main = path.join(root, "dist/cli/main.js");

export interface Ran {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Flags of Node itself. */
  readonly node?: readonly string[];
  /** Called with everything said so far, whenever something is said. */
  readonly watch?: (said: string, child: ChildProcess) => void;
}

/** `heddle ARGS`. */
export function heddle(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  if (!existsSync(main)) throw new Error("dist/ is missing: run `npm run build` first (`npm test` does)");
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...(options.node ?? []), main, ...args], { cwd: options.cwd ?? root, env: { ...process.env, FORCE_COLOR: "", ...options.env }, stdio: "pipe" });
    let [stdout, stderr] = ["", ""];
    const heard = (): void => options.watch?.(stdout + stderr, child);
    child.stdout.setEncoding("utf8").on("data", (text: string) => ((stdout += text), heard()));
    child.stderr.setEncoding("utf8").on("data", (text: string) => ((stderr += text), heard()));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
    child.stdin.on("error", () => {}); // it may end without reading
    child.stdin.end(options.input ?? "");
  });
}

/** A folder that is gone after the tests. */
export function scratch(): { readonly dir: string; file(name: string, content: string | Uint8Array): string; remove(): void } {
  const dir = mkdtempSync(path.join(tmpdir(), "heddle-test-"));
  return {
    dir,
    file(name, content) {
      const at = path.join(dir, name);
      mkdirSync(path.dirname(at), { recursive: true });
      writeFileSync(at, content);
      return at;
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Text only, one small layer: few kernels, so that a run starts fast. */
export const WORDS = `use std.layers { linear }

model words(d: axis = 8) {
  tokens text = bytes()
  task say(caption: text) = <bos> predict text(caption) <eos>
  mask = causal
  body = linear(d, d)
  loss = next_token(text)
  mix  = say
  sample text = greedy(max: 4)
  train { optimizer = adamw(); lr = 1e-2; warmup = 2; steps = 6; batch = 2; clip = 1.0; ema = 0.9; seed = 1 }
}
`;

/** Text and images, noise and dropped conditions, no attention. */
export const PICTURES = `use std.layers { linear }

model pictures(d: axis = 8) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow(predict: velocity)
  task draw(caption: text, picture: image)     = <bos> given drop(0.3) text(caption) <boi> predict image(picture) <eoi>
  task describe(picture: image, caption: text) = <bos> <boi> given image(picture) <eoi> predict text(caption) <eos>
  mask = causal | within(image)
  embed image = linear(image.features, d) + time(noising, d)
  body        = linear(d, d)
  head image  = linear(d, image.features)
  loss = 1.0 * next_token(text) + 5.0 * denoise(image)
  mix  = 0.5 * draw + 0.5 * describe
  sample text  = greedy(max: 4)
  sample image = euler(steps: 2, guidance: 2.0)
  train { optimizer = adamw(); lr = 1e-2; warmup = 2; steps = 6; batch = 2; clip = 1.0; ema = 0.9; seed = 1 }
}
`;

/** A data folder of `count` 4 x 4 pictures with captions; `size` and `lines` break it. */
export function writeData(dir: string, over: { readonly count?: number; readonly size?: number; readonly lines?: readonly string[] } = {}): string {
  mkdirSync(dir, { recursive: true });
  const size = over.size ?? 4;
  const lines: string[] = [];
  for (let i = 0; i < (over.count ?? 5); i++) {
    const data = Uint8Array.from({ length: size * size }, (_, j) => (i * 37 + j * 11) % 256);
    writeFileSync(path.join(dir, `${i}.png`), encode({ width: size, height: size, channels: 1, depth: 8, data }));
    lines.push(JSON.stringify({ image: `${i}.png`, caption: `number ${i}` }));
  }
  writeFileSync(path.join(dir, "captions.jsonl"), `${(over.lines ?? lines).join("\n")}\n`);
  return dir;
}
