// The few WebDriver commands that the tests need, over any transport. A session has one current window, so calls take turns.
import { type Browser, bounded, CALL_MS, type Page } from "./engine.js";

export type Command = "GetWindowHandle" | "NewWindow" | "SwitchToWindow" | "Navigate" | "ExecuteAsyncScript" | "CloseWindow";

export interface WebDriver {
  send(command: Command, params?: Record<string, unknown>): Promise<unknown>;
  /** The kind of a new tab: one of the same window, in front of the others, or a window of its own. */
  opens: "tab" | "window";
  /** Ends the process of the current window, at that URL. If that ends the session, gives the next one's windows by URL. */
  kill(url: string): Promise<Map<string, string> | undefined>;
  findProcess(url: string): Promise<number>;
}

export const TIMEOUTS = { script: CALL_MS, pageLoad: CALL_MS, implicit: 0 };

interface Window {
  handle: string;
  url: string;
}

/** The value of the expression; WebDriver passes an asynchronous script its callback as the last argument. */
export async function evaluate(send: WebDriver["send"], expression: string): Promise<string> {
  const { text, error } = (await send("ExecuteAsyncScript", { script: script(expression), args: [] })) as {
    text: string;
    error?: string;
  };
  if (error !== undefined) throw new Error(error);
  return text;
}

const script = (expression: string) => `
  const answer = arguments[arguments.length - 1];
  Promise.resolve().then(() => (${expression})).then(
    (text) => answer({ text }),
    (error) => answer({ error: String(error) }),
  );`;

export async function tabsOver({ send, opens, kill, findProcess }: WebDriver): Promise<Browser["newTab"]> {
  /** The first window loads no page, so that there always is one to open others from. */
  const first: Window = { handle: (await send("GetWindowHandle")) as string, url: "about:blank" };
  const windows = new Set([first]);
  let last: Promise<unknown> = Promise.resolve();

  const inTurn = <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const mine = last.then(() => bounded(what, work()));
    last = mine.catch(() => undefined);
    return mine;
  };
  const inWindow = <T>(what: string, window: Window, work: () => Promise<T>) =>
    inTurn(what, async () => {
      // A look at a tab must not bring it to the front.
      await send("SwitchToWindow", { handle: window.handle, focus: false });
      return await work();
    });

  return async () => {
    const { handle } = (await inWindow("a new tab", first, () => send("NewWindow", { type: opens, focus: true }))) as {
      handle: string;
    };
    const window: Window = { handle, url: "" };
    windows.add(window);
    const page: Page = {
      load: (url) =>
        inWindow(`loading ${url}`, window, async () => {
          window.url = url;
          await send("Navigate", { url });
        }),
      evaluate: (expression) => inWindow("a call", window, () => evaluate(send, expression)),
      kill: () =>
        inWindow("a kill", window, async () => {
          const handles = await kill(window.url);
          for (const each of windows) each.handle = handles?.get(each.url) ?? each.handle;
        }),
      process: () => inWindow("a process", window, () => findProcess(window.url)),
      async close() {
        windows.delete(window);
        await inWindow("closing", window, () => send("CloseWindow"));
      },
    };
    return page;
  };
}
