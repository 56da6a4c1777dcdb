// npx vite build --config examples/service-worker/vite.config.ts examples/service-worker     and `vite preview` with the same
import { fileURLToPath } from "node:url";
import { defineConfig, mergeConfig } from "vite";
import shared from "../vite.config.js";

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

export default defineConfig(
  mergeConfig(shared, {
    build: {
      rolldownOptions: {
        // The service worker is a file of its own beside the page, under a name that does not change.
        input: { index: here("index.html"), "service-worker": here("service-worker.ts") },
        output: {
          entryFileNames: ({ name }: { name: string }) => (name === "service-worker" ? "[name].js" : "assets/[name]-[hash].js"),
        },
      },
    },
  }),
);
