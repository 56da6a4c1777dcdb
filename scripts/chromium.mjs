import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";

export const chromiumArgs = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The path of a Chromium on this machine, if there is one. */
export async function findChromium() {
  const named = process.env.HOLDFAST_CHROMIUM;
  if (named) return existsSync(named) ? named : undefined;
  const known = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  ];
  const own = await import("playwright").then(({ chromium }) => chromium.executablePath()).catch(() => "");
  return [...known, own].find((path) => path && existsSync(path));
}

/** Finds Chromium, or installs it as root on Debian; otherwise says in one line what is missing. */
export async function ensureChromium() {
  const found = await findChromium();
  if (found) return found;
  const debian = (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(`${folder}/apt-get`));
  if (debian && process.getuid?.() === 0 && !process.env.HOLDFAST_CHROMIUM) {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    execFileSync("apt-get", ["update"], { stdio: "inherit", env });
    execFileSync("apt-get", ["install", "-y", "--no-install-recommends", "chromium"], { stdio: "inherit", env });
    const installed = await findChromium();
    if (installed) return installed;
  }
  console.error(
    "Chromium not found: install Chromium or Chrome (or run `npx playwright install chromium`), or set HOLDFAST_CHROMIUM to its path.",
  );
  return undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = await ensureChromium();
  if (path) console.log(path);
  else process.exitCode = 1;
}
