// npm run api              compares the public types of dist/ with their report in docs/api; exits with 1 where they differ
// npm run api -- --write   writes the report anew
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Extractor, ExtractorConfig, ExtractorLogLevel } from "@microsoft/api-extractor";

const root = fileURLToPath(new URL("..", import.meta.url));
const write = process.argv.includes("--write");
const reportFolder = join(root, "docs/api");
const reportTempFolder = mkdtempSync(join(tmpdir(), "holdfast-api-"));
/** @type {{ exports: Record<string, string | { types: string }> }} */
const { exports } = createRequire(import.meta.url)("../package.json");
const entries = Object.values(exports).flatMap((entry) => (typeof entry === "string" ? [] : [basename(entry.types, ".d.ts")]));

mkdirSync(reportFolder, { recursive: true });
const changed = entries.filter((entry) => {
  const { apiReportChanged } = Extractor.invoke(
    ExtractorConfig.prepare({
      packageJsonFullPath: join(root, "package.json"),
      configObjectFullPath: undefined,
      configObject: {
        projectFolder: root,
        newlineKind: "lf",
        mainEntryPointFilePath: join(root, `dist/${entry}.d.ts`),
        compiler: {
          overrideTsconfig: {
            compilerOptions: {
              target: "es2022",
              module: "nodenext",
              lib: ["es2023", "dom", "dom.iterable", "esnext.disposable"],
              types: [],
              skipLibCheck: true,
            },
            files: [join(root, `dist/${entry}.d.ts`)],
          },
        },
        apiReport: {
          enabled: true,
          reportFolder,
          reportTempFolder,
          reportFileName: `${entry}.api.md`,
          includeForgottenExports: true,
        },
        docModel: { enabled: false },
        dtsRollup: { enabled: false },
        tsdocMetadata: { enabled: false },
        messages: {
          compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
          extractorMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
          tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
        },
      },
    }),
    {
      localBuild: write,
      showVerboseMessages: false,
      messageCallback: (message) => {
        message.handled = true;
      },
    },
  );
  return apiReportChanged;
});
rmSync(reportTempFolder, { recursive: true, force: true });
if (!write && changed.length > 0) {
  console.error(
    `the public types of ${changed.join(", ")} are not those of docs/api; npm run api -- --write, if they are meant to change`,
  );
  process.exit(1);
}
