import { type } from "arktype";
import { createKernel, defineProcess, type HandleOf, type JsonValue, type ProcessHandle, typed } from "holdfast";
import * as v from "valibot";
import { z } from "zod";
import { type Equal, same } from "./equal.js";

interface Order {
  id: string;
  note?: string | undefined;
}
interface Paid {
  by: "card" | "cash";
}

const order = defineProcess({
  name: "order",
  input: z.object({ id: z.string(), at: z.coerce.date().default(new Date(0)), note: z.string().optional() }),
  events: { paid: v.object({ by: v.picklist(["card", "cash"]) }), shipped: type({ "to?": "string" }), counted: typed<number>() },
  signals: { approve: z.object({ by: z.string() }) },
  async run({ args, emit, step, start }) {
    same<Equal<typeof args.at, Date>>();
    same<Equal<typeof args.note, string | undefined>>();
    const paid: Paid = { by: "card" };
    await emit("paid", paid);
    await emit("shipped", { to: "Paris" }, { replayKey: "shipped" });
    await emit("counted", 1);
    // @ts-expect-error: no such way to pay
    await emit("paid", { by: "goat" });
    // @ts-expect-error: the payload is missing
    await emit("counted");
    // @ts-expect-error: no such event
    await emit("lost", {});
    const child = await start("child", tuples, { input: ["a", 1] });
    same<Equal<Awaited<ReturnType<typeof child.result>>, [string, number]>>();
    // @ts-expect-error: a number is no text
    await start("child", tuples, { input: [1, 1] });
    const named = await start("named", "anything", { input: new Map() });
    same<Equal<Awaited<ReturnType<typeof named.result>>, JsonValue>>();
    const stored = await step("load", (): Order => ({ id: args.id }));
    return { stored, when: args.at.getTime() };
  },
});

const tuples = defineProcess({ name: "tuples", input: typed<[string, number]>(), run: ({ args }) => args });
const none = defineProcess({
  name: "none",
  run({ args }) {
    same<Equal<typeof args, JsonValue | undefined>>();
  },
});
const maybe = defineProcess({ name: "maybe", input: typed<Order | undefined>(), run: ({ args }) => args?.id ?? null });
const withInterface = defineProcess({ name: "interface", input: typed<Order>(), run: ({ args }) => args });
const arked = defineProcess({ name: "arked", input: type({ n: "number", "text?": "string" }), run: ({ args }) => args.n });
const piped = defineProcess({
  name: "piped",
  input: v.pipe(v.string(), v.transform(Number)),
  run({ args, emit }) {
    same<Equal<typeof args, number>>();
    // @ts-expect-error: it declares no event
    return emit("some", 1).then(() => args);
  },
});

const kernel = await createKernel({
  name: "types",
  processes: [order, tuples, none, maybe, withInterface, arked, piped],
  handlers: {
    free: async ({ args, emit }) => {
      same<Equal<typeof args, JsonValue | undefined>>();
      await emit("any", { of: "these" });
      return { interfaces: true } as { interfaces: boolean };
    },
    object: { run: ({ args }) => args },
    nothing() {},
  },
});

const started = await kernel.start(order, { id: "o-1", input: { id: "1" }, grant: { scope: { sessionId: "s" } } });
same<Equal<typeof started, HandleOf<typeof order>>>();
const done = await started.result();
same<Equal<typeof done, { stored: { id: string; note?: string }; when: number }>>();
// @ts-expect-error: an order has an id
await kernel.start(order, { input: {} });
// @ts-expect-error: the input is missing
await kernel.start(order, { id: "o-2" });
// @ts-expect-error: the options are missing
await kernel.start(order);
await kernel.start(order, { input: { id: "1" }, startAtMs: 1 });
// @ts-expect-error: a time is a number of milliseconds
await kernel.start(order, { input: { id: "1" }, startAtMs: new Date() });

const given: Order = { id: "1" };
await kernel.start(withInterface, { input: given });
same<Equal<null, Awaited<ReturnType<HandleOf<typeof none>["result"]>>>>();
await kernel.start(none);
await kernel.start(none, { id: "n" });
await kernel.start(maybe);
await kernel.start(maybe, { input: given });
await kernel.start(arked, { input: { n: 1 } });
// @ts-expect-error: a text is no number
await kernel.start(arked, { input: { n: "1" } });
await kernel.start(piped, { input: "1" });
// @ts-expect-error: what the schema takes, not what it makes
await kernel.start(piped, { input: 1 });

const named: ProcessHandle = await kernel.start("order", { input: given });
await kernel.start("order");
await kernel.start({ id: "r", input: { type: "task", name: "order", args: given } });
const outcome = await named.outcome();
if (outcome.type === "failure") same<Equal<typeof outcome.code, string>>();

// @ts-expect-error: a handler is missing
defineProcess({ name: "broken" });
defineProcess({ name: "again", run() {}, retry: { attempts: 2 }, timeoutMs: 1_000 });
// @ts-expect-error: the number of attempts is missing
defineProcess({ name: "broken", run() {}, retry: { backoffMs: 5 } });
