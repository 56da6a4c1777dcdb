import { createKernel, defineProcess, typed } from "holdfast";

const digest = defineProcess({
  name: "digest",
  input: typed<{ to: string }>(),
  async run({ args, step }) {
    return await step("send", () => `sent to ${args.to}`);
  },
});

const kernel = await createKernel({ name: "guide-schedules", processes: [digest] });

// At every start of the app: the same again changes nothing.
await kernel.schedules.put({
  id: "morning-digest",
  when: { cron: "0 7 * * 1-5", timeZone: "Europe/Paris" },
  start: { name: digest.name, input: { to: "Ada" } },
});
const schedule = await kernel.schedules.get("morning-digest");
console.log("the next one is in the future:", (schedule?.nextAtMs ?? 0) > Date.now());

// Not at its time, but now.
const now = await kernel.schedules.trigger("morning-digest");
console.log(await now.result());

// It was due four times while no tab was open. The last one is made up for, once.
const DAY_MS = 24 * 60 * 60_000;
const { missed } = await kernel.schedules.put({
  id: "daily-digest",
  when: { everyMs: DAY_MS, anchorMs: Date.now() - 4.5 * DAY_MS },
  start: { name: digest.name, input: { to: "Grace" } },
});
console.log("missed:", missed);
await kernel.close();
