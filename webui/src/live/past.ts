// What figures were lately.

/**
 * Past keeps values that are so far apart, and behind them the present one. Figures that
 * stay the same are not sent again: until new ones come, they are what the last ones were.
 */
export class Past<T> {
  values: T[] = [];
  #time = 0; // when the last value but the present one was

  constructor(
    private readonly kept: number,
    private readonly step: number,
  ) {}

  /** begin takes over what was known before, up to now. */
  begin(values: readonly T[]) {
    this.values = [...values];
    this.#time = 0;
  }

  add(value: T, time: number) {
    const steps = this.#time === 0 ? 1 : Math.min(this.kept, Math.floor((time - this.#time) / this.step));
    const last = this.values.at(-1);
    if (steps < 1 && last !== undefined) this.values[this.values.length - 1] = value;
    for (let i = 1; i < steps && last !== undefined; i++) this.values.push(last);
    if (steps >= 1) this.values.push(value);
    if (this.values.length > this.kept) this.values.splice(0, this.values.length - this.kept);
    if (this.#time === 0) this.#time = time;
    else if (steps > 0) this.#time = time - ((time - this.#time) % this.step);
  }
}
