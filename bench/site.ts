// Builds the bench's page as an app would be built, and answers what the page cannot do itself.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { alias } from "./alias.js";

const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export interface Site {
  origin: string;
  close(): Promise<void>;
}

/** `answer` gets every message that is posted to /ask/<what>. */
export async function serveSite(
  { peers }: { peers: readonly string[] },
  answer: (what: string, args: Record<string, unknown>) => Promise<unknown>,
): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-bench-"));
  await build({
    configFile: false,
    logLevel: "error",
    root: file("./page"),
    resolve: { alias: alias.map(([find, replacement]) => ({ find: new RegExp(`^${find}$`), replacement })) },
    build: {
      outDir: folder,
      target: "es2022",
      // A profile must show names.
      minify: false,
      // Some peers are large libraries.
      chunkSizeWarningLimit: 10_000,
      // Missing packages are never imported.
      rolldownOptions: { external: peers.map((name) => new RegExp(`^${name}($|/)`)) },
    },
  });

  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    if (request.method === "POST") {
      let body = "";
      for await (const chunk of request) body += chunk;
      const [status, reply] = await answer(pathname.replace("/ask/", ""), JSON.parse(body)).then(
        (told) => [200, JSON.stringify(told ?? null)] as const,
        (error: unknown) => [500, String(error)] as const,
      );
      return void response.writeHead(status).end(reply);
    }
    try {
      const name = normalize(pathname === "/" ? "/index.html" : pathname);
      const content = await readFile(join(folder, name));
      response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "application/octet-stream" }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
  return {
    origin: `http://localhost:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
