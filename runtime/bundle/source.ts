// Where the files of a bundle come from: a folder in Node, a URL in a page, or memory in tests.
// In: a name within the bundle. Out: bytes. Refuses names that leave the bundle and files that are not there.

import { HeddleError } from "../error.ts";

export interface BundleSource {
  readonly place: string;
  read(name: string): Promise<Uint8Array>;
}

function checkName(name: string, place: string): void {
  if (name.startsWith("/") || name.split("/").includes("..") || name.includes("\\"))
    throw new HeddleError({ code: "E0570", message: `the manifest names a file outside the bundle: \`${name}\``, place });
}

/** A folder (Node) or a URL that ends in the folder. */
export function bundleSource(place: string | URL): BundleSource {
  const text = String(place);
  return /^(https?|blob|data):/.test(text) ? urlSource(text) : folderSource(text);
}

function urlSource(base: string): BundleSource {
  const root = base.endsWith("/") ? base : `${base}/`;
  return {
    place: root,
    async read(name) {
      checkName(name, root);
      const response = await fetch(root + name).catch((cause: unknown) => {
        throw new HeddleError({ code: "E0571", message: `\`${name}\` cannot be fetched`, place: root, cause });
      });
      if (!response.ok) throw new HeddleError({ code: "E0571", message: `\`${name}\` cannot be fetched: HTTP ${response.status}`, place: root });
      return new Uint8Array(await response.arrayBuffer());
    },
  };
}

function folderSource(place: string): BundleSource {
  return {
    place,
    async read(name) {
      checkName(name, place);
      // Computed, so that a bundler for the web does not look for it.
      const fs = (await import(/* @vite-ignore */ ["node", "fs/promises"].join(":"))) as typeof import("node:fs/promises");
      const { fileURLToPath } = (await import(/* @vite-ignore */ ["node", "url"].join(":"))) as typeof import("node:url");
      const root = place.startsWith("file:") ? fileURLToPath(place) : place;
      try {
        return new Uint8Array(await fs.readFile(`${root}/${name}`));
      } catch (cause) {
        throw new HeddleError({ code: "E0571", message: `the bundle has no file \`${name}\``, place: root, help: "build it again with `heddle build`", cause });
      }
    },
  };
}

export function memorySource(files: ReadonlyMap<string, Uint8Array>): BundleSource {
  return {
    place: "memory",
    async read(name) {
      checkName(name, "memory");
      const found = files.get(name);
      if (!found) throw new HeddleError({ code: "E0571", message: `the bundle has no file \`${name}\``, place: "memory" });
      return found;
    },
  };
}
