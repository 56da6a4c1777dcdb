import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const src = join(root, "src");

interface Import {
  readonly from: string;
  /** A file of src, or the name of a package. */
  readonly to: string;
  readonly typeOnly: boolean;
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.replaceAll("\\", "/"))
  .sort();
const texts = new Map(files.map((file) => [file, readFileSync(join(src, file), "utf8")]));

/** The code without comments and without quoted text. */
function codeOf(file: string): string {
  return (texts.get(file) as string)
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/"(?:[^"\\\n]|\\.)*"|(^|[^:])\/\/.*$/gm, (found, before) => (found.startsWith('"') ? '""' : (before ?? "")));
}

function importsOf(file: string): Import[] {
  const text = (texts.get(file) as string).replace(/\/\*[\s\S]*?\*\//g, "");
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean) => {
    const to = specifier.startsWith(".")
      ? relative(src, resolve(src, dirname(file), specifier))
          .replaceAll("\\", "/")
          .replace(/\.js$/, ".ts")
      : specifier;
    found.push({ from: file, to, typeOnly });
  };
  for (const [, type, names, specifier] of text.matchAll(/^(?:im|ex)port\s+(type\s+)?([^"';]*?)\s*from\s+"([^"]+)"/gm)) {
    const list = /^\{([\s\S]*)\}$/.exec((names as string).trim())?.[1]?.split(",") ?? [];
    const named = list.map((name) => name.trim()).filter((name) => name !== "");
    add(specifier as string, type !== undefined || (named.length > 0 && named.every((name) => name.startsWith("type "))));
  }
  for (const [, specifier] of text.matchAll(/^import\s+"([^"]+)"/gm)) add(specifier as string, false);
  for (const [, specifier] of text.matchAll(/\bimport\("([^"]+)"\)/g)) add(specifier as string, false);
  return found;
}

const imports = files.flatMap(importsOf);
const within = imports.filter(({ to }) => texts.has(to));

/** The floors, the lowest first. Adapters stand beside them; files directly in src, and the loop's worker side, wire them. */
const FLOORS = ["domain", "ports", "corridor", "stores", "kernel", "loop"];
const WIRING = new Set(["loop/worker-host.ts"]);
/** These folders build kernels and storages of their own, as an app does. */
const OUTSIDE = new Set(["conformance", "simulation"]);
const floorOf = (file: string) => (file.includes("/") ? (file.split("/")[0] as string) : "entry");

function isAllowed({ from, to }: Import): boolean {
  const [floor, other] = [floorOf(from), floorOf(to)];
  if (floor === "entry") return true;
  if (floor === "integrations") return other === "entry" || other === floor;
  if (other === "entry") return floor === "conformance";
  if (OUTSIDE.has(floor)) return floor === other || !OUTSIDE.has(other);
  if (WIRING.has(from)) return true;
  if (floor === "adapters") return other === floor || other === "ports" || other === "domain";
  return other !== "adapters" && FLOORS.includes(other) && FLOORS.indexOf(other) <= FLOORS.indexOf(floor);
}

/** The wings that a wing may import on its own floor, besides the files directly on that floor. */
const WINGS: Record<string, readonly string[]> = { host: [], process: ["host"], session: ["process", "host"], vault: ["host"] };
/** The conformance kit has two more wings: `kit` is shared by all its wings, `storage` has the cases of the port alone. */
const KIT_WINGS: typeof WINGS = { ...WINGS, kit: [], storage: [] };
const SIMULATION_WINGS: typeof WINGS = {
  machine: [],
  judge: ["machine"],
  tab: ["machine", "judge"],
  faults: ["machine", "tab"],
  works: ["machine", "judge", "tab"],
};
/** Each stands alone, over the entry files: over what any app has. */
const INTEGRATIONS: typeof WINGS = { react: [] };
const WINGS_OF: Record<string, typeof WINGS> = {
  conformance: KIT_WINGS,
  simulation: SIMULATION_WINGS,
  integrations: INTEGRATIONS,
};
const wingsOf = (floor: string) => WINGS_OF[floor] ?? WINGS;
const wingOf = (file: string) => file.split("/").slice(1, -1)[0] ?? "";

/** Each wing declares its tables, and this file lists them. */
const TABLE_LIST = "stores/schema.ts";
const DECLARATIONS = /^stores\/(.+\/)?tables?\.ts$/;

/** The limit of files in a folder. */
const MOST_FILES = 15;

/** A wing imports wings below it. Files directly in `domain/` and `stores/` import from a wing only its table declarations. */
function isWithinWings({ from, to }: Import): boolean {
  const [wing, other] = [wingOf(from), wingOf(to)];
  if (floorOf(from) !== floorOf(to) || wing === other || other === "") return true;
  if (from === TABLE_LIST) return DECLARATIONS.test(to);
  if (wing === "") return floorOf(from) !== "domain" && floorOf(from) !== "stores";
  if (floorOf(from) === "conformance" && other === "kit") return true;
  return wingsOf(floorOf(from))[wing]?.includes(other) ?? false;
}

/** The groups of files that reach one another. */
function circles(edges: readonly Import[]): string[][] {
  const next = new Map(files.map((file) => [file, edges.filter(({ from }) => from === file).map(({ to }) => to)]));
  const reach = new Map(
    files.map((file) => {
      const seen = new Set<string>();
      const todo = [...(next.get(file) ?? [])];
      for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
        if (seen.has(at)) continue;
        seen.add(at);
        todo.push(...(next.get(at) ?? []));
      }
      return [file, seen] as const;
    }),
  );
  const groups = new Map<string, string[]>();
  for (const file of files) {
    if (!reach.get(file)?.has(file)) continue;
    const group = files.filter((other) => other === file || (reach.get(file)?.has(other) && reach.get(other)?.has(file)));
    groups.set(group.join(), group);
  }
  return [...groups.values()];
}

const lineOf = ({ from, to }: Import) => `${from} -> ${to}`;

describe("imports", () => {
  it("are all read: every file is reached from an entry", () => {
    const entries = files.filter((file) => floorOf(file) === "entry");
    const seen = new Set<string>();
    const todo = [...entries];
    for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
      if (seen.has(at)) continue;
      seen.add(at);
      todo.push(...within.filter(({ from }) => from === at).map(({ to }) => to));
    }
    expect(
      files.filter((file) => !seen.has(file) && floorOf(file) !== "conformance" && file !== "adapters/clock-manual.ts"),
    ).toEqual([]);
    expect(imports.filter(({ to }) => to.endsWith(".ts") && !texts.has(to)).map(lineOf)).toEqual([]);
  });

  it("go only down: entry > loop > kernel > stores > corridor > ports > domain; adapters know ports and domain", () => {
    expect(within.filter((line) => !isAllowed(line)).map(lineOf)).toEqual([]);
  });

  it("go only down within a floor: session > process > host, vault > host; in the conformance kit all of them > kit", () => {
    expect(within.filter((line) => !isWithinWings(line)).map(lineOf)).toEqual([]);
  });

  it("stand on floors and in wings that are known, few enough to a folder to be seen at once", () => {
    const floors = new Set([...FLOORS, "adapters", "conformance", "simulation", "integrations", "entry"]);
    expect(files.filter((file) => !floors.has(floorOf(file)))).toEqual([]);
    expect(files.filter((file) => wingOf(file) !== "" && !(wingOf(file) in wingsOf(floorOf(file))))).toEqual([]);
    const sizes = new Map<string, number>();
    for (const file of files) sizes.set(dirname(file), (sizes.get(dirname(file)) ?? 0) + 1);
    expect([...sizes].filter(([, size]) => size > MOST_FILES)).toEqual([]);
  });

  it("make no circle when the code runs", () => {
    expect(circles(within.filter(({ typeOnly }) => !typeOnly))).toEqual([]);
  });

  it("make no circle with types counted either", () => {
    expect(circles(within)).toEqual([]);
  });

  it("use nothing of Node", () => {
    const builtin = new Set(builtinModules);
    expect(imports.filter(({ to }) => to.startsWith("node:") || builtin.has(to)).map(lineOf)).toEqual([]);
  });

  it("name only packages that an installation brings along, and in an integration its peers", () => {
    const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      dependencies: Record<string, string>;
      peerDependencies: Record<string, string>;
    };
    const isPeer = ({ from, to }: Import) => floorOf(from) === "integrations" && to in peerDependencies;
    const packages = imports
      .filter((line) => !line.to.endsWith(".ts") && !isPeer(line))
      .map(({ to }) => (to.startsWith("@") ? to.split("/", 2).join("/") : to.split("/")[0]));
    expect([...new Set(packages)].sort()).toEqual(
      Object.keys(dependencies)
        .filter((name) => packages.includes(name))
        .sort(),
    );
  });
});

describe("pure files", () => {
  const declarations = files.filter((file) => DECLARATIONS.test(file));
  const pure = files.filter((file) => file.endsWith(".rules.ts") || floorOf(file) === "domain" || declarations.includes(file));
  const IMPURE =
    /\b(Date|performance|Math\s*\.\s*random|crypto|setTimeout|setInterval|queueMicrotask|fetch|XMLHttpRequest|indexedDB|localStorage|navigator|window|document|globalThis|process\s*\.\s*env|console)\b/;

  it.each(pure)("%s has no clock, no chance and no outside world", (file) => {
    expect(IMPURE.exec(codeOf(file))?.[0]).toBeUndefined();
  });

  it.each(pure)("%s waits for nothing", (file) => {
    expect(/\b(async|await|Promise)\b/.exec(codeOf(file))?.[0]).toBeUndefined();
  });

  it.each(pure.filter((file) => floorOf(file) !== "domain"))("%s runs on pure files alone", (file) => {
    const runtime = within.filter(({ from, typeOnly }) => from === file && !typeOnly).map(({ to }) => to);
    expect(runtime.filter((to) => !pure.includes(to))).toEqual([]);
  });

  it.each(declarations)("%s knows the domain, and no more of the stores than what declares a table", (file) => {
    const stores = within.filter(({ from, to }) => from === file && floorOf(to) === "stores").map(({ to }) => to);
    expect(stores.filter((to) => !declarations.includes(to))).toEqual([]);
  });

  it("are found", () => {
    expect(pure.length).toBeGreaterThan(10);
    expect(declarations.length).toBeGreaterThan(1);
  });
});

/** A backward cursor in a write transaction may take minutes in Chromium, because of deleted rows: docs/decisions/0037. */
it("no store, kernel or loop reads a range backwards", () => {
  const readers = files.filter((file) => /^(corridor|stores|kernel|loop)\//.test(file));
  expect(readers.length).toBeGreaterThan(0);
  expect(readers.filter((file) => /\breverse:/.test(codeOf(file)))).toEqual([]);
});

describe("an entry that is imported in bare Node", () => {
  const entries = ["index", "memory", "indexeddb", "worker", "service-worker", "conformance", "simulation", "react"];
  let folder = "";

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "entries-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(entries)(
    "%s adds no global, says nothing and lets the program end",
    async (name) => {
      const bundle = await rolldown({
        input: join(src, `${name}.ts`),
        cwd: root,
        platform: "node",
        resolve: { extensionAlias: { ".js": [".ts", ".js"] } },
        logLevel: "silent",
      });
      await bundle.write({
        dir: join(folder, name),
        format: "esm",
        entryFileNames: "entry.mjs",
        chunkFileNames: "chunk-[hash].mjs",
      });
      await bundle.close();
      const program = `
      const keys = () => [globalThis, Object.prototype, Array.prototype, Promise.prototype].flatMap((object) => Reflect.ownKeys(object).map(String));
      const before = new Set(keys());
      await import(${JSON.stringify(pathToFileURL(join(folder, name, "entry.mjs")).href)});
      console.log(JSON.stringify(keys().filter((key) => !before.has(key))));`;
      const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], {
        timeout: 20_000,
      });
      expect(JSON.parse(stdout)).toEqual([]);
      expect(stderr).toBe("");
    },
    30_000,
  );
});
