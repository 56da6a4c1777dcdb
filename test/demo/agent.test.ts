import { afterEach, expect, it } from "vitest";
import { type AgentParts, agent } from "../../demo/agent.js";
import { answerOf, exchangesOf, sourcesOf } from "../../demo/conversation.js";
import { createLibrary } from "../../demo/library.js";
import { plan } from "../../demo/offline-agent.js";
import { starters } from "../../demo/samples.js";
import { createKernel, type Kernel, type TurnHandler } from "../../src/index.js";
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

/** A tab whose turn handler answers in every conversation. */
async function openTab(turns: TurnHandler, storage = memoryStorage()) {
  const turnRetry = { attempts: 3, backoffMs: 10, maxBackoffMs: 20 };
  const kernel = await createKernel({ name: "chat", storage, loop: "inline", turns, turnRetry, log: false });
  kernels.push(kernel);
  const session = await kernel.session("one");
  const ask = (text: string) => session.submit({ inputType: "prompt", text, idempotencyKey: text });
  const read = async () => exchangesOf(await session.messages(), await session.inputs());
  return { kernel, storage, session, ask, read };
}

it("goes on in another tab behind the part that was stored last, by the plan that was stored", async () => {
  let pauses = 0;
  let stop = () => {};
  const stuck = new Promise<void>((resolve) => {
    stop = resolve;
  });
  const pause = async (_: number, signal: AbortSignal) => {
    if (++pauses < 2) return;
    stop();
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  };
  const first = await openTab(agent(parts("Otter", { pause })));
  const asked = await first.ask(question);
  await stuck;
  await first.kernel.close();

  // The second agent's library is empty: the quoted passages were decided before.
  const second = await openTab(agent(parts("Heron", { library: createLibrary() })), first.storage);
  expect(await second.session.outcome(asked)).toMatchObject({ outcome: "completed" });
  const exchange = (await second.read()).at(-1);
  expect(exchange?.parts.map(({ text }) => text)).toEqual(planned.map(({ text }) => text));
  expect(exchange?.parts.map(({ tab }) => tab)).toEqual(planned.map((_, at) => (at < 2 ? "Otter" : "Heron")));
  expect(sourcesOf(exchange?.parts ?? [])).toEqual(planned.flatMap(({ sources }) => sources));
});

it("quotes nothing before all that is stored is known", async () => {
  const empty = createLibrary();
  const caughtUp = async () => {
    const [found] = library.find("fog horn");
    if (found) empty.add("file", found.fileName, found.passage);
  };
  const { session, ask, read } = await openTab(agent(parts("Otter", { library: empty, caughtUp })));
  await session.outcome(await ask("fog horn"));
  expect(answerOf((await read())[0]?.parts ?? [])).toMatch(/^One passage speaks of this/);
});

it("gives a question up after the last attempt with its reason, and answers it when it is asked again with its key", async () => {
  // The endpoint's port has no listener.
  const broken = { url: "http://127.0.0.1:1", model: "m", key: "sk-not-to-be-seen" };
  let model: typeof broken | undefined = broken;
  const { session, ask } = await openTab(agent(parts("Otter", { endpoint: async () => model })));
  const stop = session.view.subscribe(() => {});
  const shown = async () => exchangesOf(session.view.get().messages, await session.inputs());
  const report = await session.outcome(await ask(question));
  const error = "127.0.0.1:1: it cannot be reached, or does not let this page in (CORS)";
  expect(report).toMatchObject({ outcome: "failed", error });
  await expect
    .poll(shown)
    .toEqual([expect.objectContaining({ question, phase: "given-up", attempt: 3, error, retryKey: question })]);

  model = undefined;
  expect(await session.outcome(await ask(question))).toMatchObject({ outcome: "completed" });
  // Nothing of the failed attempts was said, so the question stands there once.
  await expect.poll(shown).toEqual([expect.objectContaining({ question, phase: "answered", error: undefined })]);
  stop();
});
