import type { ScheduleSpec } from "../../domain/process/schedule.js";
import { CRON } from "../flows.js";
import type { Dice } from "../machine/dice.js";
import { drawFlow, drawFlowHandler } from "./flow-work.js";
import { runCall, type Work } from "./work.js";

const SCHEDULES = ["d0", "d1"] as const;
function drawSchedule(id: string, dice: Dice, nowMs: number): ScheduleSpec {
  const when = dice.pick<() => ScheduleSpec["when"]>([
    () => ({ everyMs: dice.between(1_500, 8_000) }),
    () => ({ everyMs: dice.between(1_500, 8_000), anchorMs: nowMs - dice.below(20_000) }),
    () => ({ cron: CRON, timeZone: "UTC" }),
    () => ({ atMs: nowMs - 2_000 + dice.below(12_000) }),
  ])();
  // A flow that waits for a signal for ever would keep all later occurrences from running.
  const input = drawFlow(dice, nowMs, false) as unknown as Record<string, never>;
  return {
    id,
    when,
    start: { name: drawFlowHandler(dice), input: { ...input, startAtMs: 0 } },
    catchUp: dice.pick(["last", "skip", "all"]),
    overlap: dice.pick(["skip", "allow"]),
    ...(dice.chance(0.2) && { untilMs: nowMs + dice.below(20_000) }),
  };
}

export const SCHEDULE_WORK = {
  /** Puts a schedule, or does something with one that may be there. */
  schedule: {
    weight: 5,
    work({ kernel, ledger, life }, { schedules }, dice) {
      const id = dice.pick(SCHEDULES);
      const how = dice.pick(["put", "put", "put", "pause", "resume", "trigger", "delete", "list"] as const);
      schedules.add(id);
      const spec = drawSchedule(id, dice, life.clock.now());
      const change = async () => {
        if (how === "put") await kernel.schedules.put(spec);
        else if (how === "list") await kernel.schedules.list();
        else await kernel.schedules[how](id);
      };
      return {
        told: how === "put" ? `puts the schedule ${JSON.stringify(spec)}` : `${how}s the schedule ${id}`,
        done: runCall(ledger, `${how} ${id}`, change, ["not-found"]),
      };
    },
  },
} satisfies Record<string, Work>;
