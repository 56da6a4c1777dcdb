// The demo: built against dist/, as an application would use the package.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const dist = (entry: string) => fileURLToPath(new URL(`./dist/${entry}.js`, import.meta.url));

const server = { host: "localhost", port: 4173, strictPort: false };

// `connect-src` is wider than 'self' for one thing alone: a visitor may name a chat endpoint of their own, anywhere on https or on
// their own machine, and which one is not known when the page is served. No script from elsewhere ever runs here, and an app that
// knows its endpoint names that one instead.
const connectSrc = "connect-src 'self' https: http://localhost:* http://127.0.0.1:*";

export default defineConfig({
  root: "demo",
  resolve: {
    alias: [
      { find: /^holdfast$/, replacement: dist("index") },
      { find: /^holdfast\/(memory|indexeddb|worker|service-worker)$/, replacement: dist("$1") },
    ],
  },
  build: { outDir: "../dist-demo", emptyOutDir: true, target: "es2022" },
  server: { ...server, fs: { allow: [".."] } },
  preview: {
    ...server,
    headers: {
      "Content-Security-Policy": `default-src 'self'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data:; ${connectSrc}`,
      "Cache-Control": "no-store",
    },
  },
});
