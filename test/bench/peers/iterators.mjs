// The iterator methods of newer engines than Node 20, which jax-js wants. Imported for its effect.

const iterators = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
const methods = {
  *map(f) { let i = 0; for (const value of this) yield f(value, i++); },
  *filter(f) { let i = 0; for (const value of this) if (f(value, i++)) yield value; },
  *flatMap(f) { let i = 0; for (const value of this) yield* f(value, i++); },
  toArray() { return [...this]; },
  some(f) { for (const value of this) if (f(value)) return true; return false; },
  every(f) { for (const value of this) if (!f(value)) return false; return true; },
  reduce(f, ...start) { return [...this].reduce(f, ...start); },
  forEach(f) { for (const value of this) f(value); },
};
for (const [name, value] of Object.entries(methods)) {
  if (!(name in iterators)) Object.defineProperty(iterators, name, { value, configurable: true, writable: true });
}
