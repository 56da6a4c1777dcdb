import type { Json, JsonValue, Kernel, ProcessContext, SessionRuntime, Turn, TurnHandler } from "holdfast";
import { type Equal, same } from "./equal.js";

interface Chapter {
  title: string;
  pages?: number;
  tags: string[];
  parent?: { title: string } | undefined;
}

// What a value is after it was stored.
same<Equal<Json<Chapter>, { title: string; tags: string[]; pages?: number; parent?: { title: string } }>>();
same<Equal<Json<undefined>, null>>();
same<Equal<Json<string | undefined>, string | null>>();
same<Equal<Json<readonly [1, "a"]>, readonly [1, "a"]>>();
same<Equal<Json<JsonValue>, JsonValue>>();
same<Equal<Json<unknown>, JsonValue>>();
same<Equal<Json<{ of: unknown }>, { of: JsonValue }>>();
same<Equal<Json<{ at: Date }>, { at: never }>>();
same<Equal<Json<Map<string, 1>>, never>>();
same<Equal<Json<() => void>, never>>();
same<Equal<Json<bigint>, never>>();
same<Equal<Json<Uint8Array>, never>>();
same<Equal<Json<{ one: 1 } | { two: 2 }>, { one: 1 } | { two: 2 }>>();

// Results of steps, with and without a return type, and of generic code.
export async function steps({ step }: ProcessContext, turn: Turn): Promise<void> {
  const chapter = await step("one", async (): Promise<Chapter> => ({ title: "t", tags: [] }));
  same<Equal<typeof chapter.pages, number | undefined>>();
  const nothing = await step("two", () => {});
  same<Equal<typeof nothing, null>>();
  const loaded = await turn.step("three", async ({ signal }) => (await fetch("/a", { signal })).json());
  loaded.anything.goes;
  const texts = await Promise.all(["a", "b"].map((key) => step(key, () => key.length)));
  same<Equal<typeof texts, number[]>>();
  const date = await step("four", () => new Date());
  same<Equal<typeof date, never>>();
}

export function generic<T>(context: ProcessContext, run: () => Promise<T>): Promise<Json<T>> {
  return context.step("generic", run);
}

// What a caller gives may be of any type of its own.
interface Said {
  role: "assistant";
  content: { type: "text"; text: string }[];
  usage?: { tokens: number } | undefined;
}
export async function gives(kernel: Kernel, session: SessionRuntime, said: Said, chapter: Chapter): Promise<void> {
  session.onTurn((turn) => turn.append(said));
  session.onTurn(async (turn) => {
    turn.append({ role: "assistant", content: chapter, model: "m" });
    // @ts-expect-error: no such role
    turn.append({ role: "robot", content: "a" });
    // @ts-expect-error: a message has a content
    turn.append({ role: "user" });
  });
  const handler: TurnHandler = () => {};
  session.onTurn(handler);
  await kernel.processes.appendEvent("p", { eventType: "noted", payload: chapter });
  await kernel.processes.completeProcess("p", { type: "success", value: chapter });
  await kernel.processes.setExternalRef("p", { backend: "b", id: "i", metadata: chapter });
  await kernel.processes.registerProcess({ id: "p", input: { type: "task", name: "n", args: chapter } });
  await kernel.start({ input: { type: "external", metadata: chapter } });
  await session.ops.complete("op", chapter);
  const [message] = await session.messages();
  same<Equal<NonNullable<typeof message>["content"], JsonValue>>();
}
