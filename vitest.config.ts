import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";
import { chromiumArgs, findChromium } from "./scripts/chromium.mjs";

const executablePath = await findChromium();
const source = (entry: string) => fileURLToPath(new URL(`./src/${entry}.ts`, import.meta.url));

const browser = () => ({
  enabled: true,
  headless: true,
  screenshotFailures: false,
  provider: playwright({ launchOptions: { executablePath, args: chromiumArgs } }),
  instances: [{ browser: "chromium" as const }],
});

export default defineConfig({
  test: {
    passWithNoTests: true,
    projects: [
      {
        // The demo and the guide's examples import the package by its name; a test must not need a build.
        resolve: {
          alias: [
            { find: /^holdfast$/, replacement: source("index") },
            { find: /^holdfast\/(\w+)$/, replacement: source("$1") },
          ],
        },
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/browser/**", "test/tabs/**"],
          environment: "node",
          // Two files at a time also on two processors: a third of their time they wait for timers and other programs.
          maxWorkers: Math.max(2, availableParallelism() - 1),
          // What is slow on a busy machine is not wrong.
          testTimeout: 60_000,
        },
      },
      {
        // Known before the first page loads, else a dependency found late reloads the page under a running test.
        optimizeDeps: { entries: ["src/**/*.ts", "test/browser/**/*.ts"] },
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          testTimeout: 60_000,
          browser: browser(),
        },
      },
      {
        // The same test of holdfast/react with the React before.
        resolve: {
          alias: [
            { find: /^react$/, replacement: "react-18" },
            { find: /^react-dom(\/.*)?$/, replacement: "react-dom-18$1" },
          ],
        },
        optimizeDeps: { entries: ["src/**/*.ts", "test/browser/react.test.ts"] },
        test: { name: "browser-react-18", include: ["test/browser/react.test.ts"], testTimeout: 60_000, browser: browser() },
      },
      {
        test: {
          name: "tabs",
          include: ["test/tabs/**/*.test.ts"],
          environment: "node",
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          maxWorkers: 1,
        },
      },
    ],
  },
});
