import { afterEach, expect, it } from "vitest";
import { type AgentParts, agent } from "../../demo/agent.js";
import { answerOf, type Exchange, exchangesOf, sourcesOf } from "../../demo/conversation.js";
import { createLibrary } from "../../demo/library.js";
import { plan } from "../../demo/offline-agent.js";
import { starters } from "../../demo/samples.js";
import { createKernel, type Kernel, type SessionRuntime } from "../../src/index.js";
import { memoryStorage } from "../../src/memory.js";
import { sampleLibrary } from "./fixture.js";

const library = sampleLibrary();
const question = starters[0] ?? "";
const planned = plan(question, library.find, library.size);
const kernels: Kernel[] = [];

afterEach(async () => {
  await Promise.all(kernels.splice(0).map((kernel) => kernel.close()));
});

function parts(tab: string, own: Partial<AgentParts> = {}): AgentParts {
  return { tab, library, caughtUp: async () => {}, endpoint: async () => undefined, pause: async () => {}, ...own };
}

async function openSession(storage = memoryStorage()) {
  const kernel = await createKernel({ name: "chat", storage, loop: "inline" });
  kernels.push(kernel);
  return { kernel, storage, session: await kernel.session("one") };
}

async function read(kernel: Kernel, session: SessionRuntime): Promise<Exchange[]> {
  return exchangesOf(await session.messages(), await kernel.runtime.loadInputStates(session.runtimeId));
}

it("goes on in another tab behind the part that was stored last, by the plan that was stored", async () => {
  const first = await openSession();
  let pauses = 0;
  const stuck = new Promise<void>((resolve) => {
    const pause = async (_: number, signal: AbortSignal) => {
      if (++pauses < 3) return;
      resolve();
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    };
    first.session.onTurn(agent(parts("Otter", { pause })));
  });
  await first.session.submit({ inputType: "prompt", text: question });
  await stuck;
  await first.kernel.close();

  const second = await openSession(first.storage);
  // The second agent's library is empty: the quoted passages were decided before.
  second.session.onTurn(agent(parts("Heron", { library: createLibrary() })));
  const last = async () => (await read(second.kernel, second.session)).at(-1);
  await expect.poll(async () => (await last())?.phase).toBe("answered");
  const exchange = await last();
  expect(exchange?.parts.map(({ text }) => text)).toEqual(planned.map(({ text }) => text));
  expect(exchange?.parts.map(({ tab }) => tab)).toEqual(planned.map((_, at) => (at < 2 ? "Otter" : "Heron")));
  expect(sourcesOf(exchange?.parts ?? [])).toEqual(planned.flatMap(({ sources }) => sources));
});

it("quotes nothing before all that is stored is known", async () => {
  const { kernel, session } = await openSession();
  const empty = createLibrary();
  const caughtUp = async () => {
    const [found] = library.find("fog horn");
    if (found) empty.add("file", found.fileName, found.passage);
  };
  session.onTurn(agent(parts("Otter", { library: empty, caughtUp })));
  await session.submit({ inputType: "prompt", text: "fog horn" });
  await expect.poll(async () => (await read(kernel, session)).at(-1)?.phase).toBe("answered");
  expect(answerOf((await read(kernel, session))[0]?.parts ?? [])).toMatch(/^One passage speaks of this/);
});

it("tells each failed attempt at an endpoint, and gives up after the third", async () => {
  const { kernel, session } = await openSession();
  const pauses: number[] = [];
  // The endpoint's port has no listener.
  const endpoint = async () => ({ url: "http://127.0.0.1:1", model: "m", key: "sk-not-to-be-seen" });
  const pause = async (ms: number) => void pauses.push(ms);
  session.onTurn(agent(parts("Otter", { endpoint, pause })));
  await session.submit({ inputType: "prompt", text: "Who tuned the fog horn?" });
  await expect.poll(async () => (await read(kernel, session)).at(-1)?.phase).toBe("given-up");
  const [exchange] = await read(kernel, session);
  expect(exchange?.question).toBe("Who tuned the fog horn?");
  expect(exchange?.failures.map(({ attempt, reason }) => [attempt, reason])).toEqual(
    [1, 2, 3].map((attempt) => [attempt, "127.0.0.1:1: it cannot be reached, or does not let this page in (CORS)"]),
  );
  expect(pauses).toEqual([1_500, 3_000]);
});
