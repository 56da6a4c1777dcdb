import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Inside the project, so that packages are found, and in no list of its files. */
const made = join(root, ".types");
/** A compiler on a busy machine takes a minute. */
const SLOW_MS = 300_000;
const COMPILERS = { "7": "typescript", "5.9": "typescript-5.9" };

/** What a page's snippets take from the reader's own code, and from snippets before. */
const PRELUDE = `
import type { Kernel, Message, SessionRuntime, KernelStorage } from "holdfast";
declare global {
  const kernel: Kernel;
  const session: SessionRuntime;
  const createKernel: typeof import("holdfast").createKernel;
  function fetchChapters(book: string): Promise<string[]>;
  function summarise(chapter: string): Promise<string>;
  function askModel(messages: readonly Message[], signal?: AbortSignal): Promise<string>;
  function makeAnEmptyPlace(): Promise<{ delete(): Promise<void> }>;
  function myStorage(place: unknown): KernelStorage;
  const describe: import("holdfast/conformance").Runner["describe"];
  const it: import("holdfast/conformance").Runner["it"];
  const expect: import("holdfast/conformance").Runner["expect"];
  const trustedTypes: { createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): object } };
}
`;

const node = (compiler: keyof typeof COMPILERS, ...args: string[]) =>
  new Promise<string>((resolve) => {
    const tsc = join(root, "node_modules", COMPILERS[compiler], "bin/tsc");
    execFile(process.execPath, [tsc, "--pretty", "false", ...args], { cwd: root, maxBuffer: 1 << 26 }, (error, out, err) =>
      resolve(error || out || err ? `${out}${err}${error?.message ?? ""}` : ""),
    );
  });

const write = (name: string, text: string) => {
  const path = join(made, name);
  writeFileSync(path, text);
  return path;
};

/** The README and all pages of docs/ but the report of the public types. */
function pages(): string[] {
  const all = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" });
  const docs = all.filter((page) => page.endsWith(".md") && !page.startsWith("api/")).map((page) => `docs/${page}`);
  return ["README.md", ...docs.sort()];
}

/** A snippet that is a file of examples/ begins with its path, and is compiled where it stands. */
const isExample = (code = "") => code.startsWith("// examples/");

/** Each snippet as a module of its own. */
function snippets(): string[] {
  return pages().flatMap((page) => {
    const found = [...readFileSync(join(root, page), "utf8").matchAll(/^```(tsx?)\n(.*?)^```/gms)];
    const own = found.filter(([, , code]) => !isExample(code));
    return own.map(([, kind, code], at) => write(`${page.replace(/[^\w]+/g, "-")}-${at + 1}.${kind}`, `${code}\nexport {};\n`));
  });
}

/** The whole programs of the guide. Those of other frameworks and of service workers have compilers and globals of their own. */
function examples(): string[] {
  return ["guide", "morning-job", "react"].flatMap((folder) => {
    const home = join(root, "examples", folder);
    return readdirSync(home).flatMap((name) => (/\.tsx?$/.test(name) ? [join(home, name)] : []));
  });
}

const fixtures = () => {
  const here = fileURLToPath(new URL(".", import.meta.url));
  return readdirSync(here).flatMap((name) => (name.endsWith(".fixture.ts") ? [join(here, name)] : []));
};

describe("with the declarations that a build makes", () => {
  let files: string[] = [];
  beforeAll(async () => {
    rmSync(made, { recursive: true, force: true });
    mkdirSync(made);
    // Those and no others are what a user's compiler reads: an import of them that resolves here only would fail there.
    const told = await node(
      "7",
      "-p",
      "tsconfig.build.json",
      "--emitDeclarationOnly",
      "--declarationMap",
      "false",
      "--outDir",
      join(made, "holdfast"),
    );
    expect(told).toBe("");
    files = [write("prelude.d.ts", PRELUDE), ...snippets(), ...examples(), ...fixtures()];
  }, SLOW_MS);

  const variants = Object.keys(COMPILERS).flatMap((compiler) => [true, false].map((exact) => [compiler, exact] as const));
  const compile = (name: string, compiler: string, compilerOptions: object, of: string[]) => {
    const options = {
      target: "ES2022",
      lib: ["ES2023", "ESNext.Disposable", "DOM", "DOM.Iterable"],
      module: "nodenext",
      moduleResolution: "nodenext",
      jsx: "react-jsx",
      strict: true,
      noEmit: true,
      paths: { holdfast: ["./holdfast/index.d.ts"], "holdfast/*": ["./holdfast/*.d.ts"] },
      ...compilerOptions,
    };
    const config = write(`tsconfig.${name}.json`, JSON.stringify({ compilerOptions: options, files: of }));
    return node(compiler as keyof typeof COMPILERS, "-p", config);
  };

  it.each(variants)(
    "the declarations compile with TypeScript %s, exactOptionalPropertyTypes %s, skipLibCheck off, and without those of Node (A-6)",
    async (compiler, exact) => {
      const home = join(made, "holdfast");
      const entries = readdirSync(home).flatMap((name) => (name.endsWith(".d.ts") ? [join(home, name)] : []));
      const options = { exactOptionalPropertyTypes: exact, skipLibCheck: false, types: [] };
      expect(await compile(`${compiler}-${exact}-holdfast`, compiler, options, entries)).toBe("");
    },
    SLOW_MS,
  );

  it.each(variants)(
    "fixtures and all snippets compile with TypeScript %s, exactOptionalPropertyTypes %s (A-6)",
    async (compiler, exact) => {
      // The declarations of other packages that they use are not checked here: that would take three times as long.
      const options = { exactOptionalPropertyTypes: exact, skipLibCheck: true, types: ["node", "vite/client"] };
      expect(await compile(`${compiler}-${exact}`, compiler, options, files)).toBe("");
    },
    SLOW_MS,
  );

  it("all snippets are found (A-6)", () => {
    const found = files.filter((file) => file.includes("README"));
    expect(found.length).toBeGreaterThan(1);
  });
});
