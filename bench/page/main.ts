// The page that runs the browser's works. The command calls it as `window.bench`. The page asks the command to open a tab, to
// crash one, or to measure the heap, which no page can do itself.
import { measure, scaled } from "../measure.js";
import type { Bench, Measured, Tab } from "../work.js";
import { browserWorks } from "../works/browser.js";

interface Order {
  work: string;
  quick: boolean;
  peers: boolean;
  variant: string;
}

async function ask<T>(what: string, args: Record<string, unknown> = {}): Promise<T> {
  const response = await fetch(`/ask/${what}`, { method: "POST", body: JSON.stringify(args) });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as T;
}

function workOf(name: string) {
  const work = browserWorks.find((one) => one.name === name);
  if (!work) throw new Error(`there is no work ${name}`);
  return work;
}

async function run({ work: name, quick, peers, variant }: Order): Promise<Measured> {
  const work = workOf(name);
  const bench: Bench = {
    ...scaled({ quick, peers }),
    heap: (collected) => ask("heap", { collected }),
    async openTab(part, args): Promise<Tab> {
      const id = await ask<number>("open", { query: new URLSearchParams({ work: name, part, ...args }).toString() });
      return { crash: () => ask("crash", { id }), close: () => ask("close", { id }) };
    },
  };
  return await measure(work, bench, variant);
}

const { work, part, ...args } = Object.fromEntries(new URL(location.href).searchParams);
const ready = work !== undefined && part !== undefined ? workOf(work).tabs?.[part]?.(args) : undefined;

Object.assign(window, { bench: { run, ready } });
