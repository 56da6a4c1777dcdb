// Firefox over Marionette, the protocol below geckodriver: WebDriver's commands on a socket. It needs only the browser.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, findProgram, retried, startProgram } from "./engine.js";
import { TIMEOUTS, tabsOver } from "./webdriver.js";

const findFirefox = () =>
  process.env.HOLDFAST_FIREFOX
    ? findProgram(process.env.HOLDFAST_FIREFOX)
    : findProgram("firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox");

const PREFERENCES = {
  "marionette.port": 0,
  // Each tab gets a process of its own, as far as a test goes: one that is killed must not take another with it.
  "dom.ipc.processCount.webIsolated": 32,
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  // The browser starts after a crash as it always does.
  "browser.sessionstore.resume_from_crash": false,
  "toolkit.startup.max_resumed_crashes": -1,
};

/** The process of each page, by its URL. */
const PAGES = `
  const found = {};
  for (const { gBrowser } of Services.wm.getEnumerator("navigator:browser"))
    for (const { browsingContext } of gBrowser.browsers) {
      const page = browsingContext.currentWindowGlobal;
      if (page) found[page.documentURI.spec] = page.osPid;
    }
  return found;`;

export const firefox: Engine = {
  name: "firefox",
  missing: async () =>
    findFirefox() ? undefined : "Firefox (apt-get install --no-install-recommends firefox-esr), or name it by HOLDFAST_FIREFOX",

  async launch() {
    const profile = await mkdtemp(join(tmpdir(), "holdfast-firefox-"));
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`);
    await writeFile(join(profile, "user.js"), lines.join(""));
    let running = await start(profile);
    return {
      version: running.version,
      // A closed tab's message in localStorage was seen to be lost on a busy machine.
      losesFarewells: true,
      newTab: () => running.newTab(),
      async crash() {
        await running.program.kill();
        running = await start(profile);
      },
      async close() {
        await running.program.end();
        await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
      },
    };
  },
};

async function start(profile: string) {
  const portFile = join(profile, "MarionetteActivePort");
  await rm(portFile, { force: true });
  // A command may ask which process runs a tab only with system access.
  const args = ["--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", profile];
  const program = startProgram(findFirefox() ?? "", args);
  const readPort = () =>
    readFile(portFile, "utf8").then(
      (text) => Number(text) || undefined,
      () => undefined,
    );
  const send = await marionette(await retried("Firefox's port", readPort));
  const { capabilities } = await send("WebDriver:NewSession", { capabilities: { alwaysMatch: { timeouts: TIMEOUTS } } });

  const findProcess = async (url: string) => {
    await send("Marionette:SetContext", { value: "chrome" });
    const { value } = await send("WebDriver:ExecuteScript", { script: PAGES, args: [] });
    await send("Marionette:SetContext", { value: "content" });
    const processes = value as Record<string, number>;
    const pid = processes[url];
    if (pid === undefined) throw new Error(`no process runs ${url}`);
    const together = Object.keys(processes).filter((other) => processes[other] === pid);
    if (together.length > 1) throw new Error(`one process runs ${together.join(" and ")}`);
    return pid;
  };

  return {
    program,
    version: `Firefox ${(capabilities as { browserVersion: string }).browserVersion}`,
    newTab: await tabsOver({
      opens: "tab",
      async send(command, params = {}) {
        const result = await send(`WebDriver:${command}`, params);
        return "value" in result ? result.value : result;
      },
      findProcess,
      async kill(url) {
        process.kill(await findProcess(url), "SIGKILL");
        return undefined;
      },
    }),
  };
}

type Result = Record<string, unknown>;

/** A message is its length in bytes, a colon and JSON: `[0, id, command, params]` there, `[1, id, error, result]` back. */
async function marionette(port: number) {
  const socket = connect(port, "127.0.0.1");
  const pending = new Map<number, { resolve(result: Result): void; reject(error: Error): void }>();
  let lastId = 0;
  let rest = Buffer.alloc(0);
  let greet: () => void;
  const greeted = new Promise<void>((resolve, reject) => {
    greet = resolve;
    socket.once("error", reject);
  });
  socket.on("close", () => {
    for (const { reject } of pending.values()) reject(new Error("Firefox ended"));
  });
  socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let colon = rest.indexOf(":"); colon > 0; colon = rest.indexOf(":")) {
      const end = colon + 1 + Number(rest.subarray(0, colon));
      if (rest.length < end) return;
      receive(JSON.parse(rest.subarray(colon + 1, end).toString()));
      rest = rest.subarray(end);
    }
  });
  function receive(message: unknown): void {
    if (!Array.isArray(message)) return greet();
    const [, id, error, result] = message;
    const call = pending.get(id);
    pending.delete(id);
    if (error) call?.reject(new Error(`${error.error}: ${error.message}`));
    else call?.resolve(result);
  }

  await greeted;
  return (command: string, params: Record<string, unknown>): Promise<Result> => {
    const id = ++lastId;
    const text = JSON.stringify([0, id, command, params]);
    return new Promise((resolve, reject) => {
      pending.set(id, { resolve, reject });
      socket.write(`${Buffer.byteLength(text)}:${text}`);
    });
  };
}
