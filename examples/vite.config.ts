// npx vite --config examples/vite.config.ts examples/react     after `npm run build`
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import react from "@vitejs/plugin-react";
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

const dist = (entry: string) => fileURLToPath(new URL(`../dist/${entry}.js`, import.meta.url));

export default defineConfig({
  plugins: [react(), vue(), svelte()],
  // In an app of your own the package is installed, and there is nothing to say here.
  resolve: {
    alias: [
      { find: /^holdfast$/, replacement: dist("index") },
      { find: /^holdfast\/(.*)$/, replacement: dist("$1") },
    ],
  },
  server: { fs: { allow: [fileURLToPath(new URL("..", import.meta.url))] } },
});
