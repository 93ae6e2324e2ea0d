// Where the package's own files lie, from source and once built: stdlib/, docs/errors/, dist/portable/.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

function find(): string {
  let at = path.dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const file = path.join(at, "package.json");
    if (existsSync(file) && (JSON.parse(readFileSync(file, "utf8")) as { name?: string }).name === "heddle") return at;
    const up = path.dirname(at);
    if (up === at) throw new Error("the package of heddle cannot be found");
    at = up;
  }
}

export const packageRoot = find();

interface PackageFile {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

const about = JSON.parse(readFileSync(path.join(packageRoot, "package.json"), "utf8")) as PackageFile;

export const version = about.version;

/** What brings a GPU to Node: the only packages that a bundle needs there. */
export const gpuPackages: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries({ ...about.dependencies, ...about.optionalDependencies }).filter(([name]) => name === "webgpu" || name === "@sparticuz/chromium"),
);
