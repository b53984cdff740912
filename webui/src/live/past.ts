// What figures were lately, one a second.

/**
 * Past keeps the last values of something. Figures that stay the same are not sent
 * again, so the seconds that passed since the last ones had these.
 */
export class Past<T> {
  values: T[] = [];
  #time = 0;
  constructor(private readonly kept: number) {}

  add(value: T, time: number) {
    const missed = this.values.length === 0 ? 0 : Math.min(this.kept, Math.round((time - this.#time) / 1000) - 1);
    for (let i = 0; i < missed; i++) this.values.push(this.values[this.values.length - 1]!);
    this.values.push(value);
    if (this.values.length > this.kept) this.values.splice(0, this.values.length - this.kept);
    this.#time = time;
  }
}
