// In: names of the IR, in order of appearance. Out: WGSL identifiers that depend on that order and on nothing else, so
// that two layers whose kernels differ only in tensor names give one text, hence one module and one pipeline.

/** Hands out `prefix_0`, `prefix_1`, ... ; the suffix keeps every identifier clear of WGSL's reserved words. */
export class Names {
  readonly #known = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  /** A new identifier for a binder; an older binder of the same IR name is hidden from here on. */
  bind(irName: string): string {
    const prefix = /^[A-Za-z]+/.exec(irName)?.[0] ?? "v";
    const count = this.#counts.get(prefix) ?? 0;
    this.#counts.set(prefix, count + 1);
    const id = `${prefix}_${count}`;
    this.#known.set(irName, id);
    return id;
  }

  get(irName: string): string {
    const id = this.#known.get(irName);
    if (id === undefined) throw new Error(`name ${irName} is used before it is bound`);
    return id;
  }
}
