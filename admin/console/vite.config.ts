// Builds the console into dist/: one page and a few hashed files, which the admin server embeds and serves under /console/.
import { defineConfig } from 'vite';

export default defineConfig({
  base: '/console/',
  build: {
    target: 'es2021',
    assetsInlineLimit: 0, // the Content-Security-Policy lets no data: address load
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
});
