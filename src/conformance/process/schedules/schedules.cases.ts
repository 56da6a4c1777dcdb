import type { ScheduleSpec } from "../../../domain/process/schedule.js";
import type { Kernel } from "../../../kernel/kernel.js";
import { typed } from "../../../kernel/process/definition/define.js";
import { casesOn, count, type OpenFixture, type Runner, refused, type Setup } from "../../kit/fixture.js";

const MINUTE = 60_000;

function every(everyMs: number, more: Partial<ScheduleSpec> = {}): ScheduleSpec {
  return { id: "s", when: { everyMs }, start: { name: "work" }, ...more };
}

async function idsOf({ processes }: Kernel): Promise<string[]> {
  return (await processes.list()).map(({ id }) => id);
}

const work = { work: async () => "done" };
const standing = { work: () => new Promise<never>(() => {}) };

/** `kernel.schedules`, and what the loops of one and of several kernels make of it. */
export function scheduleCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  /** Moves the clock in small steps until `holds`: a storage may be slow, and timers come when it is done. */
  async function comes({ clock }: Setup, holds: () => Promise<boolean>, what: string): Promise<void> {
    for (let round = 0; round < 400; round++) {
      if (await holds()) return;
      await clock.advance(5);
      if (round > 20) await new Promise((resolve) => setTimeout(resolve, 4));
    }
    throw new Error(`never came: ${what}`);
  }

  const have = (setup: Setup, ids: readonly string[]) =>
    comes(setup, async () => (await idsOf(setup.kernel)).length === ids.length, `${ids.length} processes`).then(async () =>
      expect(await idsOf(setup.kernel)).toEqual(ids),
    );

  promise("a put stores the spec as it was given, with the first occurrence after now (F-27)", async ({ kernel, clock }) => {
    const nowMs = clock.now();
    const specs: [ScheduleSpec, nextAtMs: number][] = [
      [every(MINUTE), nowMs + MINUTE],
      [every(MINUTE, { when: { everyMs: MINUTE, anchorMs: nowMs + 5 } }), nowMs + 5],
      [every(MINUTE, { when: { everyMs: MINUTE, anchorMs: nowMs } }), nowMs + MINUTE],
      [every(MINUTE, { when: { atMs: nowMs + 7 }, untilMs: nowMs + 7 }), nowMs + 7],
      [every(MINUTE, { when: { cron: "*/5 * * * * *", timeZone: "Asia/Tokyo" } }), Math.floor(nowMs / 5_000) * 5_000 + 5_000],
    ];
    for (const [at, [given, nextAtMs]] of specs.entries()) {
      const spec: ScheduleSpec = {
        ...given,
        id: `s${at}`,
        start: {
          name: "work",
          input: { a: [1] },
          grant: { scope: { sessionId: "one" }, descriptor: { label: "l" } },
          provenance: { ownerScope: { sessionId: "one" }, hostProfileId: "h" },
        },
        catchUp: "all",
        overlap: "allow",
      };
      const record = { ...spec, nextAtMs, paused: false, missed: 0 };
      expect(await kernel.schedules.put(spec)).toEqual(record);
      expect(await kernel.schedules.get(spec.id)).toEqual(record);
    }
    expect((await kernel.schedules.list()).map(({ id }) => id)).toEqual(["s0", "s1", "s2", "s3", "s4"]);
    expect((await kernel.schedules.list({ after: "s1", limit: 2 })).map(({ id }) => id)).toEqual(["s2", "s3"]);
    expect(await kernel.schedules.get("other")).toBe(undefined);
  });

  promise("each occurrence is one process, whose cause and grant are the schedule's (F-27)", async (setup) => {
    const { clock } = setup;
    const host = await setup.open({ loop: "inline", handlers: work });
    const dueMs = clock.now() + 500;
    const start = { name: "work", input: 7, grant: { scope: { sessionId: "one" } } };
    await host.schedules.put(every(500, { start, untilMs: dueMs + 500, overlap: "allow" }));
    const ids = [`s@${dueMs}`, `s@${dueMs + 500}`];
    await have(setup, ids);
    const record = await host.processes.getProcess(`s@${dueMs}`);
    expect(record?.provenance.causedBy).toEqual({ type: "host_event", scheduleId: "s", scheduledAtMs: dueMs });
    expect(record?.input).toEqual({ type: "task", name: "work", args: 7 });
    expect(await host.processes.hasHandleGrant({ sessionId: "one" }, `s@${dueMs}`)).toBe(true);
    const { nextAtMs, lastAtMs, lastProcessId } = (await host.schedules.get("s")) ?? {};
    expect([nextAtMs, lastAtMs, lastProcessId]).toEqual([undefined, dueMs + 500, ids[1]]);
  });

  promise("of several kernels that look at one occurrence, one registers it (F-27)", async (setup) => {
    const dueMs = setup.clock.now() + 500;
    await setup.kernel.schedules.put(every(500, { overlap: "allow", untilMs: dueMs + 500 }));
    await Promise.all(count(5).map(() => setup.open({ loop: "inline", handlers: standing })));
    await have(setup, [`s@${dueMs}`, `s@${dueMs + 500}`]);
    expect((await setup.kernel.schedules.get("s"))?.missed).toBe(0);
  });

  promise("occurrences between the anchor and the put are missed ones, and so is an atMs in the past (F-27)", async (setup) => {
    const { kernel, clock } = setup;
    const nowMs = clock.now();
    const when = { everyMs: 1_000, anchorMs: nowMs - 3_500 };
    const record = await kernel.schedules.put(every(1_000, { when, catchUp: "skip" }));
    expect([record.missed, record.nextAtMs]).toEqual([3, nowMs + 500]);
    const once = await kernel.schedules.put(every(1_000, { id: "t", when: { atMs: nowMs - 5 } }));
    expect([once.missed, once.nextAtMs]).toEqual([1, undefined]);
    await kernel.schedules.put(every(1_000, { id: "u", when: { atMs: nowMs - 5 }, catchUp: "skip" }));
    await setup.open({ loop: "inline", handlers: work });
    await have(setup, [`t@${nowMs - 5}`]);
  });

  promise("missed occurrences run as catchUp says: the last one, none, or each (F-28)", async (setup) => {
    const { kernel, clock } = setup;
    const nowMs = clock.now();
    await kernel.schedules.put(every(MINUTE, { id: "last" }));
    await kernel.schedules.put(every(MINUTE, { id: "none", catchUp: "skip" }));
    await kernel.schedules.put(every(MINUTE, { id: "all", catchUp: "all" }));
    await clock.advance(3.5 * MINUTE);
    await setup.open({ loop: "inline", handlers: standing });
    await have(setup, [...count(3).map((n) => `all@${nowMs + n * MINUTE}`), `last@${nowMs + 3 * MINUTE}`]);
    await comes(setup, async () => (await kernel.schedules.get("none"))?.missed === 3, "the look at what is skipped");
    const figures = (await kernel.schedules.list()).map(({ id, missed, nextAtMs }) => [id, missed, nextAtMs]);
    expect(figures).toEqual(["all", "last", "none"].map((id) => [id, 3, nowMs + 4 * MINUTE]));
  });

  promise(
    "of missed occurrences at most the latest 100 are caught up, and how many were left out is told (F-28)",
    async (setup) => {
      const { clock } = setup;
      const nowMs = clock.now();
      const host = await setup.open({ loop: "inline", handlers: standing, concurrency: 1 });
      const told: string[] = [];
      host.on("fault", ({ area, message }) => told.push(`${area}: ${message}`));
      const when = { everyMs: MINUTE, anchorMs: nowMs - 130.5 * MINUTE };
      await host.schedules.put(every(MINUTE, { when, catchUp: "all" }));
      await have(
        setup,
        count(100)
          .map((n) => `s@${when.anchorMs + (30 + n) * MINUTE}`)
          .sort(),
      );
      expect([told.length, told[0]?.startsWith("schedules: "), told[0]?.includes("30 missed")]).toEqual([1, true, true]);
    },
  );

  promise("an occurrence is let go while the last one runs, and counted; allow starts another (F-28)", async (setup) => {
    const { kernel, clock } = setup;
    const dueMs = clock.now() + 200;
    const host = await setup.open({ loop: "inline", handlers: {} });
    await host.schedules.put(every(200));
    await host.schedules.put(every(200, { id: "t", overlap: "allow" }));
    const idsWith = async (prefix: string) => (await idsOf(kernel)).filter((id) => id.startsWith(prefix));
    await comes(setup, async () => (await idsWith("t@")).length === 3, "three occurrences");
    expect(await idsWith("s@")).toEqual([`s@${dueMs}`]);
    const [{ missed: letGo } = { missed: 0 }, second] = await kernel.schedules.list();
    expect([letGo > 0, second?.missed]).toEqual([true, 0]);
    const lease = await kernel.processes.claimProcessLease(`s@${dueMs}`, "me", 60_000);
    await kernel.processes.completeProcess(`s@${dueMs}`, { type: "success", value: null }, { lease });
    await comes(setup, async () => (await idsWith("s@")).length === 2, "the next occurrence");
  });

  promise("the same spec again changes nothing; another one replaces it and keeps lastAtMs (F-29)", async (setup) => {
    const { kernel, clock } = setup;
    const host = await setup.open({ loop: "inline", handlers: work });
    const first = await host.schedules.put(every(1_000));
    await clock.advance(400);
    expect(await kernel.schedules.put(every(1_000))).toEqual(first);
    await clock.advance(700);
    const dueMs = clock.now() - 100;
    await have(setup, [`s@${dueMs}`]);
    const nowMs = clock.now();
    const replaced = await kernel.schedules.put(every(1_000, { when: { everyMs: 700, anchorMs: dueMs - 7_000 } }));
    expect([replaced.lastAtMs, replaced.lastProcessId, replaced.missed]).toEqual([dueMs, `s@${dueMs}`, 0]);
    expect([nowMs < Number(replaced.nextAtMs), replaced.nextAtMs]).toEqual([true, dueMs + 700]);
  });

  promise("an occurrence that ran does not run again after the clock was set back (F-27)", async (setup) => {
    const { clock } = setup;
    let backMs = 0;
    const shifted = { ...clock, now: () => clock.now() - backMs };
    const nowMs = clock.now();
    const host = await setup.open({ loop: "inline", handlers: work, clock: shifted });
    await host.schedules.put(every(1_000));
    await clock.advance(1_000);
    await have(setup, [`s@${nowMs + 1_000}`]);
    backMs = 1_500;
    await clock.advance(1_500);
    expect(await idsOf(host)).toEqual([`s@${nowMs + 1_000}`]);
    await host.schedules.pause("s");
    expect((await host.schedules.resume("s")).nextAtMs).toBe(nowMs + 2_000);
  });

  promise("a paused schedule starts nothing, and what falls into the pause is neither run nor missed (F-27)", async (setup) => {
    const { kernel, clock } = setup;
    const nowMs = clock.now();
    await kernel.schedules.put(every(1_000));
    const paused = await kernel.schedules.pause("s");
    expect([paused.paused, paused.nextAtMs]).toEqual([true, undefined]);
    expect(await kernel.schedules.pause("s")).toEqual(paused);
    const host = await setup.open({ loop: "inline", handlers: work });
    await clock.advance(2_500);
    expect(await idsOf(kernel)).toEqual([]);
    const replaced = await kernel.schedules.put(every(1_000, { when: { everyMs: 1_000, anchorMs: nowMs } }));
    expect([replaced.paused, replaced.nextAtMs]).toEqual([true, undefined]);
    const resumed = await host.schedules.resume("s");
    expect([resumed.paused, resumed.nextAtMs]).toEqual([false, nowMs + 3_000]);
    expect(await host.schedules.resume("s")).toEqual(resumed);
    await clock.advance(600);
    await have(setup, [`s@${nowMs + 3_000}`]);
  });

  promise("a trigger starts one process now, and leaves the schedule as it is (F-27)", async (setup) => {
    const host = await setup.open({ loop: "inline", handlers: work });
    const record = await host.schedules.put(every(MINUTE));
    const [first, second] = [await host.schedules.trigger("s"), await host.schedules.trigger("s")];
    expect([await first.result(), first.id === second.id]).toEqual(["done", false]);
    expect((await first.record())?.provenance.causedBy).toEqual({ type: "host_event", scheduleId: "s" });
    expect(await host.schedules.get("s")).toEqual(record);
  });

  promise("a deleted schedule starts nothing, and put again it does not run an occurrence twice (F-27)", async (setup) => {
    const { kernel, clock } = setup;
    const atMs = clock.now() - 1;
    const spec = every(1, { when: { atMs } });
    await kernel.schedules.put(spec);
    await kernel.schedules.delete("s");
    const host = await setup.open({ loop: "inline", handlers: work });
    const faults: unknown[] = [];
    host.on("fault", (fault) => faults.push(fault));
    await clock.advance(500);
    expect([await kernel.schedules.get("s"), await idsOf(kernel)]).toEqual([undefined, []]);
    for (const _ of count(2)) {
      await host.schedules.put(spec);
      await comes(setup, async () => (await host.schedules.get("s"))?.lastAtMs === atMs, "the occurrence");
      await host.schedules.delete("s");
    }
    expect([await idsOf(kernel), faults]).toEqual([[`s@${atMs}`], []]);
  });

  promise("unknown schedules are not-found for pause, resume and trigger; a delete does nothing (F-27)", async ({ kernel }) => {
    for (const call of ["pause", "resume", "trigger"] as const)
      await refused(kernel.schedules[call]("x"), "not-found", 'unknown schedule "x"');
    await kernel.schedules.delete("x");
    expect(await kernel.schedules.list()).toEqual([]);
  });

  promise("a broken spec is invalid, is named, and stores nothing (F-29)", async ({ kernel, clock }) => {
    const nowMs = clock.now();
    const when = (given: object) => every(1, { when: given as never });
    const start = (given: object) => every(1, { start: given as never });
    const broken: [spec: unknown, named: string][] = [
      [undefined, "spec"],
      [{ ...every(1), more: 1 }, "spec.more"],
      [every(1, { id: "" }), "spec.id"],
      [every(1, { id: "x".repeat(500) }), "spec.id"],
      [every(1, { id: "rt:session:s" }), "spec.id"],
      [when({}), "spec.when"],
      [when({ cron: "* * * * *", everyMs: 1 }), "spec.when"],
      [when({ atMs: 1, timeZone: "UTC" }), "spec.when.timeZone"],
      [when({ everyMs: 0 }), "spec.when.everyMs"],
      [when({ everyMs: 1.5 }), "spec.when.everyMs"],
      [when({ everyMs: Number.POSITIVE_INFINITY }), "spec.when.everyMs"],
      [when({ everyMs: 1, anchorMs: -1 }), "spec.when.anchorMs"],
      [when({ atMs: "1" }), "spec.when.atMs"],
      [when({ cron: "* * * *" }), "spec.when.cron"],
      [when({ cron: "@daily" }), "spec.when.cron"],
      [when({ cron: "0 0 30 2 *" }), "spec.when.cron"],
      [when({ cron: 5 }), "spec.when.cron"],
      [when({ cron: "* * * * *", timeZone: "Nowhere/Town" }), "spec.when.timeZone"],
      [start({}), "spec.start.name"],
      [start({ name: "work", input: () => {} }), "spec.start.input"],
      [start({ name: "work", id: "x" }), "spec.start.id"],
      [start({ name: "work", grant: { scope: {} } }), "spec.start.grant.scope"],
      [start({ name: "work", provenance: { ownerScope: {}, hostProfileId: "h" } }), "spec.start.provenance.ownerScope"],
      [
        start({ name: "work", provenance: { ownerScope: { sessionId: "s" }, hostProfileId: "h", causedBy: { type: "turn" } } }),
        "spec.start.provenance.causedBy",
      ],
      [every(1, { catchUp: "some" as never }), "spec.catchUp"],
      [every(1, { overlap: true as never }), "spec.overlap"],
      [every(1, { untilMs: nowMs + 0.5 }), "spec.untilMs"],
    ];
    for (const [spec, named] of broken) await refused(kernel.schedules.put(spec as never), "invalid", named);
    expect(await kernel.schedules.list()).toEqual([]);
  });

  promise(
    "the input must fit the schema of the putting kernel's definition, whose events the process has (F-29)",
    async (setup) => {
      const number = {
        "~standard": {
          version: 1 as const,
          vendor: "kit",
          validate: (value: unknown) => (typeof value === "number" ? { value } : { issues: [{ message: "no number" }] }),
        },
      };
      const run = async () => null;
      const definition = { name: "work", input: number, events: { noted: typed<null>() }, run };
      const host = await setup.open({ processes: [definition as never] });
      await refused(host.schedules.put(every(1_000, { start: { name: "work", input: "x" } })), "invalid", "spec.start.input");
      const atMs = setup.clock.now();
      await host.schedules.put(every(1_000, { start: { name: "work", input: 1 }, when: { atMs } }));
      // Another kernel, which does not know the definition, starts it.
      await setup.open({ loop: "inline", handlers: {} });
      await have(setup, [`s@${atMs}`]);
      const [record] = await setup.processes.list();
      expect(record?.eventTypes[0]?.name).toBe("noted");
    },
  );
}
