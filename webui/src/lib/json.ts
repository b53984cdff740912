// A printer for JSON that never turns text into values: what is shown are the very
// digits and escapes that were sent, laid out over lines.

export type TokenKind = 'key' | 'string' | 'number' | 'word' | 'mark' | 'space';
export interface Token {
  kind: TokenKind;
  text: string;
}

const literal = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const blank = /[ \t\r\n]*/y;
const maxDepth = 500;

class Printer {
  lines: Token[][] = [[]];
  at = 0;
  constructor(private readonly text: string) {}

  put(kind: TokenKind, text: string) {
    this.lines[this.lines.length - 1]!.push({ kind, text });
  }

  line(depth: number) {
    this.lines.push(depth > 0 ? [{ kind: 'space', text: '  '.repeat(depth) }] : []);
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
    literal.lastIndex = this.at;
    const found = literal.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
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

/** printJSON lays out a JSON text, or is undefined when the text is not JSON. */
export function printJSON(text: string): Token[][] | undefined {
  const p = new Printer(text);
  if (!p.value(0)) return undefined;
  p.skip();
  return p.at === text.length ? p.lines : undefined;
}

/** whereJSONBreaks says at which line and column a text stops being JSON. */
export function whereJSONBreaks(text: string): { line: number; column: number } | undefined {
  const p = new Printer(text);
  if (p.value(0)) {
    p.skip();
    if (p.at === text.length) return undefined;
  }
  const before = text.slice(0, p.at).split('\n');
  return { line: before.length, column: before[before.length - 1]!.length + 1 };
}

/** plain is a laid out text for the clipboard. */
export function plain(lines: Token[][]): string {
  return lines.map((line) => line.map((t) => t.text).join('')).join('\n');
}
