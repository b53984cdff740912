// A text of any size as rows that can be shown a few at a time: its lines, and of long
// lines the pieces.

import { hexLine } from './body';

export const longestRow = 2000; // letters; a browser lays out a line of megabytes for seconds
export const slice = 256 * 1024; // letters that are scrolled through at a time

/** Source is what can be shown by rows. */
export interface Source {
  readonly count: number;
  /** How much there is: letters, or bytes. */
  readonly size: number;
  /** Whether a line was cut. */
  readonly cut: boolean;
  readonly slices: number;
  /** slice is the rows of the nth part. */
  slice(n: number): { from: number; to: number };
  row(i: number): string;
  /** continues says that a row is not the beginning of a line. */
  continues(i: number): boolean;
}

export class Rows implements Source {
  /** Where each row begins, and behind the last where the text ends. */
  readonly starts: Uint32Array;
  readonly count: number;
  readonly cut: boolean;

  constructor(readonly text: string) {
    let starts = new Uint32Array(1024);
    let n = 0;
    let cut = false;
    const add = (at: number) => {
      if (n + 1 >= starts.length) {
        const more = new Uint32Array(starts.length * 2);
        more.set(starts);
        starts = more;
      }
      starts[n++] = at;
    };
    for (let from = 0; from <= text.length; ) {
      let end = text.indexOf('\n', from);
      if (end < 0) end = text.length;
      add(from);
      for (let at = from + longestRow; at < end; at += longestRow) {
        // Not between the halves of one letter.
        if (text.charCodeAt(at) >> 10 === 0x37) at++;
        if (at < end) add(at);
        cut = true;
      }
      from = end + 1;
    }
    starts[n] = text.length + 1;
    this.starts = starts.subarray(0, n + 1);
    this.count = n;
    this.cut = cut;
  }

  /** row is the text of one, without the end of the line. */
  row(i: number): string {
    const end = this.starts[i + 1]!;
    const text = this.text.slice(this.starts[i], end);
    return text.endsWith('\r\n') ? text.slice(0, -2) : text.endsWith('\n') ? text.slice(0, -1) : text;
  }

  continues(i: number): boolean {
    return i > 0 && this.text.charCodeAt(this.starts[i]! - 1) !== 10;
  }

  get size(): number {
    return this.text.length;
  }

  get slices(): number {
    return Math.max(1, Math.ceil(this.text.length / slice));
  }

  slice(n: number): { from: number; to: number } {
    return { from: this.#at(n * slice), to: n + 1 >= this.slices ? this.count : this.#at((n + 1) * slice) };
  }

  // The first row that begins at an offset or behind it.
  #at(offset: number): number {
    let [lo, hi] = [0, this.count];
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (this.starts[mid]! < offset) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }
}

/** HexRows is a dump of bytes. */
export class HexRows implements Source {
  readonly cut = false;
  readonly count: number;
  readonly size: number;

  constructor(readonly bytes: Uint8Array) {
    this.size = bytes.length;
    this.count = Math.ceil(bytes.length / 16);
  }

  get slices(): number {
    return Math.max(1, Math.ceil(this.size / slice));
  }

  slice(n: number) {
    return { from: (n * slice) / 16, to: Math.min(this.count, ((n + 1) * slice) / 16) };
  }

  row(i: number): string {
    return hexLine(this.bytes, i);
  }

  continues(): boolean {
    return false;
  }
}
