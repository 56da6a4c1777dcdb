import { Component, createElement, type ReactNode, StrictMode, Suspense, useState, version } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createKernel, type Kernel, type SessionRuntime } from "../../src/index.js";
import { memoryStorage } from "../../src/memory.js";
import {
  HoldfastProvider,
  type UsedSession,
  useHosts,
  useKernel,
  useProcess,
  useProcesses,
  useSession,
  useSessions,
} from "../../src/react.js";

let kernel: Kernel;
/** How often each session was opened, and how many objects of it are open. */
let opened: Record<string, number>;
let open: Record<string, number>;
let place: HTMLElement;
let root: Root | undefined;
let warnings: unknown[][];

beforeEach(async () => {
  warnings = [];
  for (const how of ["error", "warn"] as const) vi.spyOn(console, how).mockImplementation((...told) => void warnings.push(told));
  const made = await createKernel({ name: "react", storage: memoryStorage(), loop: "inline", channel: false, locks: false });
  opened = {};
  open = {};
  kernel = { ...made, session: counted(made) };
  place = document.body.appendChild(document.createElement("div"));
});

afterEach(async () => {
  root?.unmount();
  root = undefined;
  place.remove();
  await kernel.close();
  vi.restoreAllMocks();
  expect(warnings).toEqual([]);
});

function counted(made: Kernel): Kernel["session"] {
  // What is closed after a test counts for that one.
  const [counts, held] = [opened, open];
  return async (sessionId, options) => {
    counts[sessionId] = (counts[sessionId] ?? 0) + 1;
    const session = await made.session(sessionId, options);
    held[sessionId] = (held[sessionId] ?? 0) + 1;
    const close = async () => {
      held[sessionId] = (held[sessionId] ?? 0) - 1;
      await session.close();
    };
    return { ...session, close } as SessionRuntime;
  };
}

const inProvider = (children: ReactNode, more: { kernel?: Kernel | Promise<Kernel>; fallback?: ReactNode } = {}) =>
  createElement(HoldfastProvider, { kernel, ...more }, children);

function mount(element: ReactNode): void {
  root ??= createRoot(place);
  root.render(element);
}

const shows = (text: string) => vi.waitFor(() => expect(place.textContent).toBe(text), { timeout: 10_000 });
const later = () => new Promise((resolve) => setTimeout(resolve, 50));

/** The component's last value, and how often it was rendered. */
const seen: { session?: UsedSession; renders: number } = { renders: 0 };

function Chat({ id = "s" }: { id?: string }) {
  const session = useSession(id);
  seen.session = session;
  seen.renders++;
  return createElement("p", null, `${session.status} ${session.messages.map(({ content }) => content).join(" ")}`);
}

const prompt = (text: string) => ({ inputType: "prompt" as const, text });

class Boundary extends Component<{ children?: ReactNode }, { message?: string }> {
  override state: { message?: string } = {};
  static getDerivedStateFromError(error: Error) {
    return { message: error.message };
  }
  override render() {
    return this.state.message === undefined ? this.props.children : `caught ${this.state.message}`;
  }
}

describe(`holdfast/react with React ${version}`, () => {
  it("shows a session, and has functions that stay the same (X-1)", async () => {
    mount(inProvider(createElement(Chat)));
    await shows("ready ");
    const { submit, cancel } = seen.session as UsedSession;
    const outcome = await submit({ ...prompt("hello"), inputId: "a" });
    expect(outcome).toEqual({ outcome: "accepted", inputId: "a" });
    await shows("ready hello");
    await cancel("a");
    await vi.waitFor(() => expect(seen.session?.messages[0]?.pending).toBe("cancelled"));
    expect([seen.session?.submit === submit, seen.session?.cancel === cancel]).toEqual([true, true]);
  });

  it("opens a session once for ten components, and closes it with the last (X-1)", async () => {
    const chats = (count: number) => inProvider(Array.from({ length: count }, (_, key) => createElement(Chat, { key })));
    mount(chats(10));
    await shows("ready ".repeat(10));
    mount(chats(1));
    await shows("ready ");
    await later();
    expect([opened, open]).toEqual([{ s: 1 }, { s: 1 }]);
    mount(chats(0));
    await vi.waitFor(() => expect(open).toEqual({ s: 0 }));
    expect(opened).toEqual({ s: 1 });
  });

  it("opens a session once in StrictMode, and does not close it under a component that is put back (X-1)", async () => {
    mount(createElement(StrictMode, null, inProvider(createElement(Chat))));
    await shows("ready ");
    await later();
    expect([opened, open]).toEqual([{ s: 1 }, { s: 1 }]);
    mount(createElement(StrictMode, null, inProvider([createElement(Chat, { key: "another" })])));
    await later();
    await shows("ready ");
    expect([opened, open]).toEqual([{ s: 1 }, { s: 1 }]);
  });

  it("closes a session that was still being opened when its component went (X-1)", async () => {
    mount(inProvider(createElement(Chat)));
    await vi.waitFor(() => expect(opened).toEqual({ s: 1 }));
    mount(inProvider(null));
    await vi.waitFor(() => expect(open).toEqual({ s: 0 }));
    mount(inProvider(createElement(Chat)));
    await shows("ready ");
    expect([opened, open]).toEqual([{ s: 2 }, { s: 1 }]);
  });

  it("stores what was submitted though the component went at once (X-1)", async () => {
    mount(inProvider(createElement(Chat)));
    await vi.waitFor(() => expect(opened).toEqual({ s: 1 }));
    const outcome = seen.session?.submit({ ...prompt("hello"), inputId: "a" });
    mount(inProvider(null));
    expect(await outcome).toEqual({ outcome: "accepted", inputId: "a" });
    await vi.waitFor(() => expect(open).toEqual({ s: 0 }));
  });

  it("goes over to another session (X-1)", async () => {
    const session = await kernel.session("other");
    await session.submit(prompt("here"));
    mount(inProvider(createElement(Chat)));
    await shows("ready ");
    mount(inProvider(createElement(Chat, { id: "other" })));
    await shows("ready here");
    await vi.waitFor(() => expect(open.s).toBe(0));
  });

  it("shows the fallback until the kernel is there, and the app's hooks have it then (X-1)", async () => {
    let give = (_: Kernel) => {};
    const promise = new Promise<Kernel>((resolve) => {
      give = resolve;
    });
    const Name = () => useKernel().name;
    mount(createElement(StrictMode, null, inProvider(createElement(Name), { kernel: promise, fallback: "opening" })));
    await shows("opening");
    give(kernel);
    await shows("react");
  });

  it("renders at once without a fallback: calls wait for the kernel, and useKernel suspends (X-1)", async () => {
    let give = (_: Kernel) => {};
    const promise = new Promise<Kernel>((resolve) => {
      give = resolve;
    });
    const Name = () => useKernel().name;
    const name = createElement(Suspense, { key: "name", fallback: " ..." }, createElement(Name));
    mount(inProvider([createElement(Chat, { key: "chat" }), name], { kernel: promise }));
    await shows("loading  ...");
    const { submit } = seen.session as UsedSession;
    const outcome = submit({ ...prompt("hello"), inputId: "a" });
    give(kernel);
    expect(await outcome).toEqual({ outcome: "accepted", inputId: "a" });
    await shows("ready helloreact");
    expect(seen.session?.submit).toBe(submit);
    expect(opened).toEqual({ s: 1 });
  });

  it("throws the error of a kernel that does not open to the boundary above (X-1)", async () => {
    for (const fallback of ["opening", undefined]) {
      const promise = Promise.reject(new Error("no storage"));
      promise.catch(() => undefined);
      mount(createElement(Boundary, { key: String(fallback) }, inProvider(createElement(Chat), { kernel: promise, fallback })));
      await shows("caught no storage");
    }
    expect(warnings.splice(0).join(" ")).toContain("no storage");
  });

  it("shows why a session cannot be opened, and tries again with the next call (X-1)", async () => {
    const { session } = kernel;
    kernel.session = async () => {
      throw new Error("no storage");
    };
    mount(inProvider(createElement(Chat)));
    await vi.waitFor(() => expect(seen.session?.error).toBe("no storage"));
    await expect(seen.session?.submit(prompt("a"))).rejects.toThrow("no storage");
    kernel.session = session;
    await seen.session?.submit(prompt("hello"));
    await shows("ready hello");
    expect(seen.session?.error).toBe(undefined);
  });

  it("renders on a server without a kernel's storage, and hydrates that (X-1)", async () => {
    const page = inProvider(createElement(Chat));
    place.innerHTML = renderToString(page);
    expect(place.textContent).toBe("loading ");
    await later();
    expect(opened).toEqual({});
    root = hydrateRoot(place, page);
    await shows("ready ");
    const never = new Promise<Kernel>(() => {});
    expect(renderToString(inProvider(createElement(Chat), { kernel: never }))).toContain("loading");
    expect(renderToString(inProvider(createElement(Chat), { kernel: never, fallback: "opening" }))).toContain("opening");
  });

  it("shows the sessions, processes and hosts of the database (X-1)", async () => {
    const Lists = () => {
      const { record, result, error, live } = useProcess("p");
      const lists = [useSessions(), useProcesses(), useProcesses({ state: "running" }), useHosts()].map(({ length }) => length);
      return JSON.stringify([lists, record?.status.state, result, error, live.length]);
    };
    const Cancel = () => {
      const { cancel } = useProcess("q");
      return createElement("button", { type: "button", onClick: () => void cancel("no more") });
    };
    mount(inProvider([createElement(Lists, { key: 1 }), createElement(Cancel, { key: 2 })]));
    await shows(JSON.stringify([[0, 0, 0, 1], null, null, null, 0]));
    await kernel.session("s");
    for (const id of ["p", "q"]) await kernel.processes.registerProcess({ id, input: { type: "task", name: "t" } });
    await shows(JSON.stringify([[1, 2, 2, 1], "running", null, null, 0]));
    await kernel.processes.completeProcess("p", { type: "success", value: 7 });
    await shows(JSON.stringify([[1, 2, 1, 1], "completed", 7, null, 0]));
    place.querySelector("button")?.click();
    await vi.waitFor(async () => {
      const types = (await kernel.processes.eventsAfter("q", 0)).map(({ eventType }) => eventType);
      expect(types).toContain("process.cancel_requested");
    });
  });

  it("renders at most once in each animation frame, however much is stored (X-2)", async () => {
    mount(inProvider(createElement(Chat)));
    await shows("ready ");
    let frames = 0;
    let counting = requestAnimationFrame(function count() {
      frames++;
      counting = requestAnimationFrame(count);
    });
    const before = seen.renders;
    const session = await kernel.session("s");
    for (let at = 0; at < 300; at++) await session.submit({ ...prompt(`${at}`), inputId: `${at}` });
    await vi.waitFor(() => expect(seen.session?.waiting).toBe(300));
    cancelAnimationFrame(counting);
    expect(seen.renders - before).toBeLessThanOrEqual(frames + 1);
    expect(seen.renders - before).toBeLessThan(150);
  });

  it("does not render what did not change (X-2)", async () => {
    const Other = () => {
      const [, set] = useState(0);
      return createElement("button", { type: "button", onClick: () => set((n) => n + 1) });
    };
    mount(inProvider([createElement(Chat, { key: 1 }), createElement(Other, { key: 2 })]));
    await shows("ready ");
    const { renders } = seen;
    await kernel.session("another");
    await kernel.processes.registerProcess({ id: "p", input: { type: "task", name: "t" } });
    await later();
    place.querySelector("button")?.click();
    await later();
    expect(seen.renders).toBe(renders);
  });

  it("says what is missing where there is no provider (X-1)", async () => {
    mount(createElement(Boundary, null, createElement(Chat)));
    await vi.waitFor(() => expect(place.textContent).toContain("HoldfastProvider"));
    warnings.length = 0;
  });
});
