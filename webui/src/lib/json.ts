// A printer for JSON that never turns text into values: what is shown are the very
// digits and escapes that were sent, laid out over lines.

export type TokenKind = 'key' | 'string' | 'number' | 'word' | 'mark' | 'space';
export interface Token {
  kind: TokenKind;
  text: string;
}

const literal = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const special = /["\\\u0000-\u001f]/g;
const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const blank = /[ \t\r\n]*/y;
const maxDepth = 500;

abstract class Printer {
  at = 0;
  constructor(private readonly text: string) {}

  abstract put(kind: TokenKind, text: string): void;
  abstract line(depth: number): void;

  /** print reports whether all of the text is JSON. */
  print(): boolean {
    if (!this.value(0)) return false;
    this.skip();
    return this.at === this.text.length;
  }

  skip() {
    blank.lastIndex = this.at;
    blank.test(this.text);
    this.at = blank.lastIndex;
  }

  take(expected: string): boolean {
    this.skip();
    if (this.text[this.at] !== expected) return false;
    this.at++;
    return true;
  }

  literal(): string | undefined {
    this.skip();
    if (this.text[this.at] === '"') return this.string();
    literal.lastIndex = this.at;
    const found = literal.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  // From one mark to the next: an expression for all of it would remember each letter of
  // a string of megabytes.
  string(): string | undefined {
    const from = this.at;
    let at = from + 1;
    for (;;) {
      special.lastIndex = at;
      const found = special.exec(this.text);
      if (found?.[0] === '"') {
        this.at = found.index + 1;
        return this.text.slice(from, this.at);
      }
      escape.lastIndex = found?.index ?? 0;
      if (found?.[0] !== '\\' || !escape.test(this.text)) return undefined;
      at = escape.lastIndex;
    }
  }

  value(depth: number): boolean {
    if (depth > maxDepth) return false;
    if (this.take('{')) return this.list('{', '}', depth, () => this.member(depth + 1));
    if (this.take('[')) return this.list('[', ']', depth, () => this.value(depth + 1));
    const text = this.literal();
    if (text === undefined) return false;
    this.put(text[0] === '"' ? 'string' : /[tfn]/.test(text[0]!) ? 'word' : 'number', text);
    return true;
  }

  member(depth: number): boolean {
    const key = this.literal();
    if (key?.[0] !== '"' || !this.take(':')) return false;
    this.put('key', key);
    this.put('mark', ': ');
    return this.value(depth);
  }

  list(open: string, close: string, depth: number, item: () => boolean): boolean {
    this.put('mark', open);
    if (this.take(close)) {
      this.put('mark', close);
      return true;
    }
    for (;;) {
      this.line(depth + 1);
      if (!item()) return false;
      if (this.take(',')) {
        this.put('mark', ',');
        continue;
      }
      if (!this.take(close)) return false;
      this.line(depth);
      this.put('mark', close);
      return true;
    }
  }
}

/** Layout keeps what is printed as one text, a piece at a time: tokens of 16 MB would take a gigabyte. */
class Layout extends Printer {
  #done: string[] = [];
  #piece: string[] = [];

  put(_: TokenKind, text: string) {
    this.#piece.push(text);
    if (this.#piece.length >= 8192) this.#join();
  }

  line(depth: number) {
    this.put('space', '\n' + '  '.repeat(depth));
  }

  #join() {
    this.#done.push(this.#piece.join(''));
    this.#piece = [];
  }

  whole(): string {
    this.#join();
    return this.#done.join('');
  }
}

/** layJSON lays out a JSON text over lines, or is undefined when the text is not JSON. */
export function layJSON(text: string): string | undefined {
  const p = new Layout(text);
  return p.print() ? p.whole() : undefined;
}

/** whereJSONBreaks says at which line and column a text stops being JSON. */
export function whereJSONBreaks(text: string): { line: number; column: number } | undefined {
  const p = new Layout(text);
  if (p.print()) return undefined;
  const before = text.slice(0, p.at).split('\n');
  return { line: before.length, column: before[before.length - 1]!.length + 1 };
}

const token = /("(?:[^"\\]|\\.)*"?)(\s*:)?|(-?\d[\d.eE+-]*)|(true|false|null)|([[\]{},:])|(\s+)|([^])/g;

/** tokens tells apart what is in a line that layJSON has made, or in the beginning of one. */
export function tokens(line: string): Token[] {
  const list: Token[] = [];
  for (const [whole, text, colon, number, word, mark, space] of line.matchAll(token)) {
    if (text !== undefined) {
      list.push({ kind: colon === undefined ? 'string' : 'key', text });
      if (colon !== undefined) list.push({ kind: 'mark', text: colon });
    } else list.push({ kind: number !== undefined ? 'number' : word !== undefined ? 'word' : mark !== undefined ? 'mark' : space !== undefined ? 'space' : 'string', text: whole });
  }
  return list;
}
