// A build leaves the English texts out of the other tables: they are in the code
// already. What is left of each is a number.

export const most = 65_536;

/** hash is a number from 0 to most for a text; seed is chosen so that no two are the same. */
export function hash(text: string, seed: number): number {
  let h = seed;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16_777_619);
  return ((h >>> 16) ^ h) & (most - 1);
}

export interface Packed {
  seed: number;
  /** For each text, how far its number is from the one before, as a character. */
  steps: string;
  texts: string[];
}

const first = 35; // a character that needs no escape; the backslash is the JSON's matter

/** pack makes the table that a build contains. */
export function pack(table: Record<string, string>): Packed {
  const entries = Object.entries(table);
  let seed = 1;
  while (new Set(entries.map(([text]) => hash(text, seed))).size < entries.length) seed++;
  entries.sort(([a], [b]) => hash(a, seed) - hash(b, seed));
  let last = 0;
  const steps = entries.map(([text]) => {
    const step = hash(text, seed) - last;
    last += step;
    return String.fromCodePoint(first + step);
  });
  return { seed, steps: steps.join(''), texts: entries.map(([, text]) => text) };
}

/** lookup finds texts in what pack made. */
export function lookup(packed: Packed): (text: string) => string | undefined {
  const table = new Map<number, string>();
  let last = 0;
  for (let i = 0; i < packed.texts.length; i++) {
    last += packed.steps.charCodeAt(i) - first;
    table.set(last, packed.texts[i]!);
  }
  return (text) => table.get(hash(text, packed.seed));
}
