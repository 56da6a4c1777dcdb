import { createKernel, defineProcess, typed } from "holdfast";
import { memoryStorage } from "holdfast/memory";

const reminder = defineProcess({
  name: "reminder",
  input: typed<{ text: string; afterMs: number }>(),
  async run({ args, sleep, step }) {
    await sleep("until-then", args.afterMs);
    await step("remind", () => console.log(args.text));
    return "reminded";
  },
});

// In a browser leave `storage` out: there it is IndexedDB, which every tab has.
const app = { name: "guide-timers", processes: [reminder], storage: memoryStorage() };

const monday = await createKernel(app);
const job = await monday.start(reminder, { id: "reminder-1", input: { text: "call the bank", afterMs: 300 } });
for await (const { eventType } of job.events()) if (eventType === "process.waiting") break;
for (const { kind, key } of (await job.record())?.waiting ?? []) console.log("it waits for the", kind, key);
await monday.close();
console.log("every tab is closed");

// Later, in another tab: the time that has passed meanwhile counts.
const friday = await createKernel(app);
console.log(await friday.process("reminder-1").result());
await friday.close();
