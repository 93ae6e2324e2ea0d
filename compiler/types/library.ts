// What the library has: modules that are one file, and modules that are a folder with a file for every name (`std.masks.natten` is
// stdlib/masks/natten.heddle and declares `natten`). Data alone; test/stdlib/library.test.ts holds it against the folders.

/** One file each; those of `everyday` need no `use`. */
const files: Readonly<Record<string, boolean>> = {
  "std.layers": true, "std.norms": true, "std.attention": true, "std.mlp": true, "std.positions": true, "std.time": true, "std.blocks": false, "std.routers": false, "std.moe": false,
  "std.windows": false,
};

/** A file a name; the names of `everyday` need no `use`, those of `more` do. */
export const folders: Readonly<Record<string, { readonly everyday: readonly string[]; readonly more: readonly string[] }>> = {
  "std.masks": {
    everyday: ["causal", "document", "frames", "full", "hidden", "near", "prefix", "scales", "sees", "segment", "window", "within"],
    more: [
      "bagel", "block_causal", "block_diffusion", "cells", "chunked", "dilated_window", "drafts", "flamingo", "frame_causal",
      "global_window", "grouped", "morton_natten", "nar", "natten", "noise_hidden", "packed", "packed_causal", "par", "scale_causal",
      "shared_prefix", "show_o", "sink_window", "sliding_window", "sta_2d", "sta_3d", "svg_spatial", "svg_temporal", "tiled_natten",
      "transfusion", "tree", "visibility", "visible",
    ],
  },
  "std.scores": {
    everyday: ["alibi", "cosine", "distance", "relative", "soft_cap", "t5", "temperature"],
    more: ["kerple", "log_length", "longer", "swin"],
  },
};

/** Modules whose names need no `use`, in the order they are read: a file, or one name of a folder. */
export const everyday: readonly string[] = [
  ...Object.keys(files).filter((m) => files[m]),
  ...Object.entries(folders).flatMap(([folder, { everyday: names }]) => names.map((n) => `${folder}.${n}`)),
];

/** Every name a `use` may begin with. */
export const libraryModules: readonly string[] = [...Object.keys(files), ...Object.keys(folders)];

/** Every file of the library, as a module. */
export const libraryFiles: readonly string[] = [...Object.keys(files), ...Object.entries(folders).flatMap(([folder, f]) => [...f.everyday, ...f.more].map((n) => `${folder}.${n}`))];

export const namesOf = (folder: string): readonly string[] | undefined => {
  const f = Object.hasOwn(folders, folder) ? folders[folder] : undefined;
  return f && [...f.everyday, ...f.more].sort();
};

/** What the library has beyond the names that need no `use`: the module of each. */
const elsewhere: ReadonlyMap<string, string> = new Map([
  ...["decoder_block", "mlp_block", "adaln_block", "cross_block"].map((n) => [n, "std.blocks"] as const),
  ...Object.entries(folders).flatMap(([folder, f]) => f.more.map((n) => [n, folder] as const)),
]);

/** Names that need a `use`. */
export const namesElsewhere: readonly string[] = [...elsewhere.keys()];

/** Where the library has a name that needs a `use`. */
export const moduleWith = (name: string): string | undefined => elsewhere.get(name);
