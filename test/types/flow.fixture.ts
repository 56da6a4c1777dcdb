import {
  defineProcess,
  type Kernel,
  type ProcessContext,
  type ProcessHandle,
  type ProcessRecord,
  type ProcessWait,
  type RetryPolicy,
  type ScheduleRecord,
  type ScheduleSpec,
  typed,
} from "holdfast";
import { type Equal, same } from "./equal.js";

interface Order {
  id: string;
  shop?: string | undefined;
}

const policy: RetryPolicy = {
  attempts: 3,
  backoffMs: 10,
  factor: 2,
  maxBackoffMs: 100,
  jitter: 0,
  retryIf: (error) => error !== 1,
};

const order = defineProcess({
  name: "order",
  input: typed<Order>(),
  signals: { decided: typed<{ isApproved: boolean }>() },
  retry: policy,
  timeoutMs: 1_000,
  suspendAfterMs: Number.POSITIVE_INFINITY,
  limit: { key: (args) => args.shop ?? "none", concurrency: 2, rate: { count: 10, perMs: 1_000 } },
  async run({ args, step, all, waitForSignal }) {
    const load = (id: string, at: number) => step(id, () => id.length + at, { retry: policy, timeoutMs: 1_000 });
    const lengths = await all([args.id, "b"] as const, load, { concurrency: 2 });
    same<Equal<typeof lengths, number[]>>();
    const decided = await waitForSignal("decided", { timeoutMs: 1 });
    return decided?.payload.isApproved ?? false;
  },
});
const plain = defineProcess({ name: "plain", limit: { key: "shared", concurrency: 1 }, run() {} });

// @ts-expect-error: how many tries?
defineProcess({ name: "broken", run() {}, retry: {} });
// @ts-expect-error: a number is no text
defineProcess({ name: "broken", input: typed<{ n: number }>(), limit: { key: ({ n }) => n, concurrency: 1 }, run() {} });
// @ts-expect-error: no such member of a limit
defineProcess({ name: "broken", limit: { atOnce: 1 }, run() {} });

export async function tries({ step, all }: ProcessContext): Promise<void> {
  await step("a", () => 1, { retry: { attempts: 2 } });
  // @ts-expect-error: no such option
  await step("a", () => 1, { retries: 3 });
  // @ts-expect-error: how many tries?
  await step("a", () => 1, { retry: { backoffMs: 1 } });
  // @ts-expect-error: it promises nothing
  await all([1], (item) => item);
}

export async function starts(kernel: Kernel): Promise<void> {
  const handle = await kernel.start(order, { input: { id: "1" }, startAtMs: 1 });
  await handle.signal("decided", { isApproved: true });
  // @ts-expect-error: no decision
  await handle.signal("decided", { approved: true });
  same<Equal<Awaited<ReturnType<typeof handle.result>>, boolean>>();
  const elsewhere = kernel.process(order, "1");
  await elsewhere.signal("decided", { isApproved: true });
  // @ts-expect-error: no decision
  await elsewhere.signal("decided", { approved: true });
  same<Equal<Awaited<ReturnType<typeof elsewhere.result>>, boolean>>();
  await kernel.process("1").signal("anything", 1);
  await handle.restart();
  await handle.restart({ from: "a" });
  await kernel.start(plain, { startAtMs: 1 });
  await kernel.start("order", { startAtMs: 1 });
}

export function shown({ waiting, suspended, startAtMs, attempts }: ProcessRecord): string {
  same<Equal<NonNullable<typeof waiting>, readonly ProcessWait[]>>();
  same<Equal<NonNullable<typeof suspended>, true>>();
  same<Equal<NonNullable<typeof startAtMs>, number>>();
  same<Equal<ProcessWait["kind"], "timer" | "signal" | "retry" | "limit">>();
  return attempts?.lastError?.message ?? "";
}

export async function schedules({ schedules }: Kernel): Promise<ProcessHandle> {
  const cron: ScheduleSpec = {
    id: "s",
    when: { cron: "0 7 * * *", timeZone: "Europe/Paris" },
    start: { name: "order", input: {} },
  };
  const put = await schedules.put(cron);
  same<Equal<typeof put, ScheduleRecord>>();
  same<Equal<NonNullable<typeof put.nextAtMs>, number>>();
  const every: ScheduleSpec = { id: "e", when: { everyMs: 1, anchorMs: 0 }, start: { name: plain.name }, catchUp: "all" };
  await schedules.put({ ...every, overlap: "allow", untilMs: 1 });
  await schedules.put({ id: "o", when: { atMs: 1 }, start: { name: plain.name } });
  // @ts-expect-error: when?
  await schedules.put({ id: "o", start: { name: plain.name } });
  // @ts-expect-error: no such way to catch up
  await schedules.put({ ...cron, catchUp: "first" });
  for (const { id, paused, missed } of await schedules.list({ after: "a", limit: 10 }))
    if (!paused && missed > 0) await schedules.pause(id);
  await schedules.resume("s");
  await schedules.delete("s");
  return await schedules.trigger("s");
}
