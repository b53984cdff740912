import { describe, expect, it } from 'vitest';
import { plain, printJSON, whereJSONBreaks } from '../src/lib/json';

const printed = (text: string) => {
  const lines = printJSON(text);
  return lines && plain(lines);
};

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
    expect(printJSON(text)).toBeUndefined();
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
      expect(printJSON(text) !== undefined, text).toBe(valid);
    }
  });
  it('does not overflow the stack', () => {
    expect(printJSON('['.repeat(100_000))).toBeUndefined();
  });
  it('says where a text breaks', () => {
    expect(whereJSONBreaks('{\n  "a": x\n}')).toEqual({ line: 2, column: 8 });
    expect(whereJSONBreaks('{"a":1}')).toBeUndefined();
  });
});
