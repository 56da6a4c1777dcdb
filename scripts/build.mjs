import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { licencesOf } from "./licenses.mjs";
import { printSizes } from "./sizes.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

rmSync(`${root}/dist`, { recursive: true, force: true });
execFileSync(process.execPath, [`${root}/node_modules/typescript/bin/tsc`, "-p", "tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit",
});

/**
 * A worker cannot see the page's import map or a bundler's chunk names, and a service worker must not call `import()`: each ships as
 * one file that imports nothing. @param {string} entry
 */
async function standAlone(entry) {
  const bundle = await rolldown({
    input: `${root}/src/${entry}.ts`,
    cwd: root,
    platform: "browser",
    resolve: { extensionAlias: { ".js": [".ts", ".js"] } },
    transform: { target: "es2022", define: { "process.env.NODE_ENV": '"production"' } },
  });
  const { output } = await bundle.write({
    file: `${root}/dist/${entry}.js`,
    format: "esm",
    codeSplitting: false,
    sourcemap: true,
    minify: true,
  });
  await bundle.close();
  const [file] = output;
  // The bundler lists an inlined dynamic import under the file's own name.
  const outside = [...file.imports, ...file.dynamicImports].filter((name) => name !== file.fileName);
  const forbidden = /\bnew (?:Shared)?Worker\(|\beval\(|\bnew Function\(|\bimport\s*\(|\bimport\.meta\b/.exec(file.code)?.[0];
  if (outside.length > 0 || forbidden) {
    throw new Error(`dist/${entry}.js must stand alone, but contains: ${[...outside, forbidden].filter(Boolean).join(", ")}`);
  }
  return file.moduleIds;
}

const bundled = [...(await standAlone("worker")), ...(await standAlone("service-worker"))];
writeFileSync(`${root}/dist/THIRD-PARTY-LICENSES.txt`, licencesOf(bundled));

await printSizes();
