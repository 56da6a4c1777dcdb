// The demo: built against dist/, as an application would use the package.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const dist = (entry: string) => fileURLToPath(new URL(`./dist/${entry}.js`, import.meta.url));

const server = { host: "localhost", port: 4173, strictPort: false };

export default defineConfig({
  root: "demo",
  resolve: {
    alias: [
      { find: /^holdfast$/, replacement: dist("index") },
      { find: /^holdfast\/(memory|indexeddb|worker)$/, replacement: dist("$1") },
    ],
  },
  build: { outDir: "../dist-demo", emptyOutDir: true, target: "es2022" },
  server: { ...server, fs: { allow: [".."] } },
  preview: {
    ...server,
    headers: {
      "Content-Security-Policy":
        "default-src 'self'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'",
      "Cache-Control": "no-store",
    },
  },
});
