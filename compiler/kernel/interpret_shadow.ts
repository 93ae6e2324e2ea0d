// What the interpreter remembers beside the numbers: who last wrote and read an element, and whether it was ever written.
// Two invocations race on an element when one of them writes it and no barrier of a common workgroup lies between.

/** The place of the run at this moment. Epochs count barriers and workgroups, and never go back. */
export interface Clock {
  epoch: number;
  /** Epoch at which the present dispatch began; older entries are history. */
  start: number;
  /** Number of the present workgroup. */
  group: number;
  lanes: number;
}

/** Access history of one tensor or shared array. `across` is false for shared arrays: other workgroups have their own. */
export class Shadow {
  readonly #clock: Clock;
  readonly #across: boolean;
  readonly #writer: Int32Array;
  readonly #writeEpoch: Int32Array;
  readonly #reader: Int32Array;
  readonly #readEpoch: Int32Array;
  /** A second reader, different from the first: a write is in conflict with one of the two. */
  readonly #other: Int32Array;
  readonly #otherEpoch: Int32Array;

  constructor(size: number, clock: Clock, across: boolean) {
    this.#clock = clock;
    this.#across = across;
    const make = (): Int32Array => new Int32Array(size).fill(-1);
    [this.#writer, this.#writeEpoch, this.#reader] = [make(), make(), make()];
    [this.#readEpoch, this.#other, this.#otherEpoch] = [make(), make(), make()];
  }

  #conflict(who: number, epoch: number, self: number): boolean {
    const c = this.#clock;
    if (epoch < c.start || who === self) return false;
    return epoch === c.epoch || (this.#across && Math.floor(who / c.lanes) !== c.group);
  }

  /** Notes a read; true when it races with an earlier write. */
  read(i: number, self: number): boolean {
    const { epoch, start, lanes, group } = this.#clock;
    if (this.#conflict(this.#writer[i] ?? -1, this.#writeEpoch[i] ?? -1, self)) return true;
    const r = this.#reader[i] ?? -1;
    const re = this.#readEpoch[i] ?? -1;
    if (re < start || r === self || (re < epoch && Math.floor(r / lanes) === group)) {
      this.#reader[i] = self;
      this.#readEpoch[i] = epoch;
    } else {
      this.#other[i] = self;
      this.#otherEpoch[i] = epoch;
    }
    return false;
  }

  /** Notes a write; true when it races with an earlier read or write. */
  write(i: number, self: number): boolean {
    const bad =
      this.#conflict(this.#writer[i] ?? -1, this.#writeEpoch[i] ?? -1, self) ||
      this.#conflict(this.#reader[i] ?? -1, this.#readEpoch[i] ?? -1, self) ||
      this.#conflict(this.#other[i] ?? -1, this.#otherEpoch[i] ?? -1, self);
    this.#writer[i] = self;
    this.#writeEpoch[i] = this.#clock.epoch;
    return bad;
  }
}
