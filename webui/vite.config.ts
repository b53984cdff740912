import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { pack } from './src/i18n/hash.ts';
import { zh } from './src/i18n/zh.ts';

// import('./zh.ts?packed') is the table without the English texts.
const packed = {
  name: 'packed-texts',
  enforce: 'pre' as const,
  load: (id: string) => (id.endsWith('zh.ts?packed') ? `export default ${JSON.stringify(pack(zh))}` : undefined),
};

// The files that take longest begin first, so that none is left to run alone.
const longest = ['screens', 'typing', 'load', 'live', 'groups'];
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]) {
    const place = (file: TestSpecification) => longest.findIndex((name) => file.moduleId.endsWith(`/e2e/${name}.test.ts`)) + 1 || longest.length + 1;
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

// Styles are scoped by three letters of their own sum; two that came out alike would mix.
const scopes = new Map<string, string>();
function scope(css: string, hash: (text: string) => string) {
  const short = 'z' + hash(css).slice(-3);
  if ((scopes.get(short) ?? css) !== css) throw new Error(`two styles have the scope ${short}: change either`);
  scopes.set(short, css);
  return short;
}

// The build is committed, so it has to come out the same everywhere: names without
// hashes, no source maps, and style scopes that depend on the style alone.
export default defineConfig({
  base: './',
  plugins: [
    packed,
    svelte({
      compilerOptions: { cssHash: ({ css, hash }) => scope(css, hash), discloseVersion: false },
    }),
  ],
  worker: { rolldownOptions: { output: { entryFileNames: 'assets/[name].js' } } },
  build: {
    target: ['chrome123', 'firefox128', 'safari17.5'],
    outDir: 'build', // what finish.mjs makes dist of
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        entryFileNames: 'assets/[name].js',
        chunkFileNames: 'assets/[name].js',
        // All of the first page in one file: two would compress worse.
        codeSplitting: { groups: [{ name: 'index', tags: ['$initial'] }] },
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
  server: {
    proxy: { '/api': { target: process.env.ZBUS ?? 'http://127.0.0.1:15555', ws: true } },
  },
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        resolve: { conditions: ['browser'] },
        test: { name: 'unit', include: ['tests/**/*.test.ts'], environment: 'happy-dom', testTimeout: 30_000 },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          environment: 'node',
          globalSetup: 'e2e/setup.ts',
          testTimeout: 600_000, // the longest takes 25 s where nothing else runs
          expect: { poll: { timeout: 45_000 } }, // as locators wait
          hookTimeout: 600_000,
          // Most of what they do is wait, for figures and between keys.
          maxWorkers: 2,
          maxConcurrency: 5,
        },
      },
    ],
  },
});
