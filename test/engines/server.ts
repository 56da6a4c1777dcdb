// One origin for the kit and for the tabs under test: what a package's user would build and serve, under a strict policy.
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const POLICY = "default-src 'self'; script-src 'self'; worker-src 'self'; report-uri /violations";
const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript" };
const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export interface Site {
  origin: string;
  /** Hears every message that is posted there, parsed, with the page that it comes from. */
  hear(path: "/told" | "/report" | "/violations", listener: (message: unknown, from: string) => void): void;
  close(): Promise<void>;
}

export async function serveSite(): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-engines-"));
  const bundle = (root: string, outDir: string, base: string) =>
    build({
      configFile: false,
      logLevel: "error",
      root: file(root),
      base,
      resolve: {
        alias: [
          { find: /^holdfast$/, replacement: file("../../dist/index.js") },
          { find: /^holdfast\/(.*)$/, replacement: file("../../dist/$1.js") },
        ],
      },
      build: { outDir, emptyOutDir: false, target: "es2022" },
    });
  await bundle("../tabs/fixture", folder, "/");
  await bundle("./kit", join(folder, "kit"), "/kit/");
  await copyFile(file("../../dist/worker.js"), join(folder, "shipped-worker.js"));

  const listeners = new Map<string, (message: unknown, from: string) => void>();
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    if (request.method === "POST") {
      let body = "";
      for await (const chunk of request) body += chunk;
      listeners.get(pathname)?.(JSON.parse(body), request.headers.referer ?? "");
      return void response.writeHead(204).end();
    }
    const name = normalize(pathname.endsWith("/") ? `${pathname}index.html` : pathname);
    try {
      const content = pathname === "/elsewhere" ? "<!doctype html><title>elsewhere</title>" : await readFile(join(folder, name));
      const type = TYPES[extname(name)] ?? "text/html";
      response.writeHead(200, { "content-type": type, "cache-control": "no-cache", "content-security-policy": POLICY });
      response.end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));

  return {
    origin: `http://localhost:${(server.address() as AddressInfo).port}`,
    hear: (path, listener) => void listeners.set(path, listener),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
