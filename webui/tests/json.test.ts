import { describe, expect, it } from 'vitest';
import { layJSON, tokens, whereJSONBreaks } from '../src/lib/json';

const printed = layJSON;

describe('JSON', () => {
  it('keeps the digits and escapes that were sent', () => {
    const text = '{"amount":12345678901234567890,"rate":1.10,"e":1E+2,"t":"\\u00e9\\/"}';
    expect(printed(text)).toBe('{\n  "amount": 12345678901234567890,\n  "rate": 1.10,\n  "e": 1E+2,\n  "t": "\\u00e9\\/"\n}');
  });
  it('keeps keys that are there twice', () => {
    expect(printed('{"a":1,"a":2}')).toBe('{\n  "a": 1,\n  "a": 2\n}');
  });
  it.each([
    ['[]', '[]'], ['{}', '{}'], [' [ ] ', '[]'], ['null', 'null'], ['-0.5', '-0.5'], ['"a"', '"a"'],
    ['[1,[2,{"a":[]}]]', '[\n  1,\n  [\n    2,\n    {\n      "a": []\n    }\n  ]\n]'],
  ])('%s', (text, want) => expect(printed(text)).toBe(want));
  it.each(['', '{', '[1,]', '{"a"}', '{a:1}', "{'a':1}", '01', '1 2', '"\n"', '"\\x"', 'nul', '[1}', 'NaN'])('refuses %j', (text) => {
    expect(layJSON(text)).toBeUndefined();
    expect(whereJSONBreaks(text)).toBeDefined();
  });
  it('agrees with the parser of the browser on what is JSON', () => {
    const parts = ['{', '}', '[', ']', ',', ':', '"a"', '1', 'true', ' ', '-', '.5'];
    let seed = 7;
    for (let i = 0; i < 20_000; i++) {
      let text = '';
      for (let n = 0; n < 6; n++) {
        seed = (seed * 1103515245 + 12345) % 2147483648;
        text += parts[seed % parts.length];
      }
      let valid = true;
      try {
        JSON.parse(text);
      } catch {
        valid = false;
      }
      expect(layJSON(text) !== undefined, text).toBe(valid);
    }
  });
  it('does not overflow the stack', () => {
    expect(layJSON('['.repeat(100_000))).toBeUndefined();
  });
  it('says where a text breaks', () => {
    expect(whereJSONBreaks('{\n  "a": x\n}')).toEqual({ line: 2, column: 8 });
    expect(whereJSONBreaks('{"a":1}')).toBeUndefined();
  });
  it('lays out strings and lists of megabytes', () => {
    const long = JSON.stringify({ text: 'a"\\'.repeat(500_000), list: Array.from({ length: 200_000 }, (_, i) => i) });
    const laid = layJSON(long)!;
    expect(laid.split('\n')).toHaveLength(200_005);
    expect(JSON.stringify(JSON.parse(laid))).toBe(long);
  });
  it('tells apart what is in a line, or in the beginning of one', () => {
    const kinds = (line: string) => tokens(line).map((t) => `${t.kind} ${t.text}`);
    expect(kinds('  "a\\"b": -1.5e3,')).toEqual(['space   ', 'key "a\\"b"', 'mark :', 'space  ', 'number -1.5e3', 'mark ,']);
    expect(kinds('null')).toEqual(['word null']);
    expect(kinds('"cut off')).toEqual(['string "cut off']);
    expect(tokens('x"{"y":1').map((t) => t.text).join('')).toBe('x"{"y":1');
  });
});
