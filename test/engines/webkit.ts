// WebKitGTK's own small browser over its WebDriver, on a virtual display.
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { busiest, type Engine, findProgram, retried, startProgram } from "./engine.js";
import { type Command, evaluate, TIMEOUTS, tabsOver } from "./webdriver.js";

const LIBRARIES = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/libexec"];

const findPrograms = () => ({
  display: findProgram("Xvfb"),
  driver: findProgram("WebKitWebDriver"),
  browser: findProgram(...LIBRARIES.map((library) => `${library}/webkit2gtk-4.1/MiniBrowser`)),
});

const ROUTES: Record<Command, readonly [method: string, path: string]> = {
  GetWindowHandle: ["GET", "/window"],
  NewWindow: ["POST", "/window/new"],
  SwitchToWindow: ["POST", "/window"],
  Navigate: ["POST", "/url"],
  ExecuteAsyncScript: ["POST", "/execute/async"],
  CloseWindow: ["DELETE", "/window"],
};

export const webkit: Engine = {
  name: "webkit",
  missing: async () =>
    Object.values(findPrograms()).every((path) => path !== undefined)
      ? undefined
      : "WebKitGTK's MiniBrowser, its WebDriver and Xvfb (apt-get install --no-install-recommends libwebkit2gtk-4.1-0 webkit2gtk-driver xvfb)",

  async launch() {
    const { display = "", driver = "", browser = "" } = findPrograms();
    const screen = startProgram(display, ["-displayfd", "3", "-screen", "0", "1280x800x24", "-nolisten", "tcp"]);
    const [port, target] = [await freePort(), `127.0.0.1:${await freePort()}`];
    // A browser that the driver starts ends with its session, and a crashed page ends the session: this one starts without it.
    const app = startProgram(browser, ["--automation"], {
      DISPLAY: `:${await screen.firstLine}`,
      WEBKIT_INSPECTOR_SERVER: target,
    });
    const startDriver = () => startProgram(driver, [`--port=${port}`, `--target=${target}`]);
    let remote = startDriver();

    const request = async (method: string, path: string, body?: unknown): Promise<unknown> => {
      const init = method === "POST" ? { method, body: JSON.stringify(body ?? {}) } : { method };
      const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
      const { value } = (await response.json()) as { value: { error?: string; message?: string } };
      if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
      return value;
    };
    const openSession = () => {
      const alwaysMatch = { browserName: "MiniBrowser", timeouts: TIMEOUTS };
      return retried("a session of MiniBrowser", () =>
        request("POST", "/session", { capabilities: { alwaysMatch } }).then(
          (value) => value as { sessionId: string; capabilities: { browserVersion: string } },
          () => undefined,
        ),
      );
    };
    let session = await openSession();
    const send = (command: Command | readonly [string, string], params?: Record<string, unknown>) => {
      const [method, path] = typeof command === "string" ? ROUTES[command] : command;
      return request(method, `/session/${session.sessionId}${path}`, params);
    };
    const windowsByUrl = async () => {
      const windows = new Map<string, string>();
      for (const handle of (await send(["GET", "/window/handles"])) as string[]) {
        await send("SwitchToWindow", { handle });
        windows.set((await send(["GET", "/url"])) as string, handle);
      }
      return windows;
    };

    const findProcess = () =>
      busiest(
        () => contentProcesses(app.pid),
        (expression) => evaluate(send, expression),
      );

    // The browser's storage does not outlive it: the driver keeps it in memory.
    return {
      version: `WebKitGTK ${session.capabilities.browserVersion}`,
      newTab: await tabsOver({
        send,
        // A tab that the driver opens is hidden, even when it is the only one: every timer of the kit would be throttled.
        opens: "window",
        findProcess,
        async kill() {
          process.kill(await findProcess(), "SIGKILL");
          // The session ends with the page. The same driver, asked for a new one before the browser knows that, never answers.
          await remote.end();
          remote = startDriver();
          session = await openSession();
          return await windowsByUrl();
        },
      }),
      async close() {
        for (const program of [remote, app, screen]) await program.end();
      },
    };
  },
};

/** The browser's processes that run pages, and the processor time that each has used, in ms. */
async function contentProcesses(ancestor: number): Promise<Map<number, number>> {
  const processes = new Map<number, { parent: number; name: string; ms: number }>();
  for (const entry of await readdir("/proc")) {
    const stat = /^\d+$/.test(entry) ? await readFile(`/proc/${entry}/stat`, "utf8").catch(() => "") : "";
    const [, name, rest = ""] = /\((.*)\) (.*)/.exec(stat) ?? [];
    const fields = rest.split(" ").map(Number);
    if (name) processes.set(Number(entry), { name, parent: fields[1] ?? 0, ms: 10 * ((fields[11] ?? 0) + (fields[12] ?? 0)) });
  }
  const descends = (pid: number): boolean => {
    const parent = processes.get(pid)?.parent;
    return parent !== undefined && (parent === ancestor || descends(parent));
  };
  const running = [...processes].filter(([pid, { name }]) => name.startsWith("WebKitWebProc") && descends(pid));
  return new Map(running.map(([pid, { ms }]) => [pid, ms]));
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
