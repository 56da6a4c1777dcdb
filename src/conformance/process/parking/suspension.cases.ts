import type { ProcessHandler } from "../../../kernel/process/context/context.js";
import { casesOn, type OpenFixture, type Runner, refused, type Setup, success } from "../../kit/fixture.js";

const DAY = 24 * 60 * 60 * 1_000;

/** Runs that give their handlers up while they wait. */
export function suspensionCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  const host = (setup: Setup, job: ProcessHandler) => setup.open({ loop: "inline", handlers: { job } });

  /** A process whose run was suspended, and the reason of its handler's signal. */
  async function suspended(setup: Setup, job: ProcessHandler) {
    const reasons: unknown[] = [];
    const kernel = await host(setup, (context) => {
      context.signal.addEventListener("abort", () => reasons.push(context.signal.reason.code));
      return job(context);
    });
    const handle = await kernel.start("job", { id: "p" });
    await setup.clock.advance(0);
    await setup.clock.advance(1_500);
    expect((await handle.record())?.suspended).toBe(true);
    expect(reasons).toEqual(["suspended"]);
    return { kernel, handle };
  }

  promise(
    "a run whose waits are all far away is suspended: nothing holds its lease, and no host may claim it (F-18)",
    async (setup) => {
      const { kernel, handle } = await suspended(setup, async ({ sleep, waitForSignal }) => {
        await Promise.all([sleep("s", DAY), waitForSignal("go")]);
      });
      expect(await kernel.processes.getLease("p")).toBe(undefined);
      await refused(setup.processes.claimProcessLease("p", "by hand", 1_000), "lease-held");
      expect((await handle.record())?.waiting?.map(({ kind }) => kind)).toEqual(["signal", "timer"]);
    },
  );

  promise(
    "a suspended process goes on when it is due, in another kernel, with all that it stored (F-19, F-22)",
    async (setup) => {
      const job: ProcessHandler = async ({ sleep, step, attempt }) => {
        const first = await step("first", () => attempt);
        await sleep("s", 60_500);
        return [first, attempt];
      };
      const { kernel } = await suspended(setup, job);
      await kernel.close();
      const other = await host(setup, job);
      await setup.clock.advance(58_000);
      expect((await other.processes.getProcess("p"))?.suspended).toBe(true);
      await setup.clock.advance(3_000);
      expect(await other.processes.awaitProcess("p")).toEqual(success([1, 2]));
      expect((await other.processes.getProcess("p"))?.waiting).toBe(undefined);
    },
  );

  promise(
    "the signal that a suspended process waits for brings it back in its own write, and no other does (F-19)",
    async (setup) => {
      const { handle } = await suspended(setup, async ({ waitForSignal }) => (await waitForSignal("go")).payload);
      await setup.processes.signal("p", "else", 1);
      expect((await handle.record())?.suspended).toBe(true);
      await setup.processes.signal("p", "go", 2);
      expect((await handle.record())?.suspended).toBe(undefined);
      await setup.clock.advance(60_000);
      expect(await handle.outcome()).toEqual(success(2));
    },
  );

  promise(
    "a suspended process waits for a signal no longer once that is sent, before any host takes it (F-17, F-19)",
    async (setup) => {
      const job: ProcessHandler = async ({ waitForSignal }) => {
        const timeoutMs = 62_000;
        const both = [waitForSignal("go", { timeoutMs }), waitForSignal("go", { timeoutMs })];
        return (await Promise.all(both)).map((received) => received?.payload ?? null);
      };
      const { kernel } = await suspended(setup, job);
      await kernel.close();
      const left = async () => (await setup.processes.getProcess("p"))?.waiting?.length;
      expect(await left()).toBe(2);
      await setup.processes.signal("p", "go", 1);
      expect(await left()).toBe(1);
      const other = await host(setup, job);
      await setup.clock.advance(0);
      expect(await left()).toBe(1);
      await setup.clock.advance(62_000);
      expect(await other.processes.awaitProcess("p")).toEqual(success([1, null]));
    },
  );

  promise("a cancel request brings a suspended process back, and its handler ends it (F-19)", async (setup) => {
    const { handle } = await suspended(setup, async ({ sleep, signal }) => {
      const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      if (signal.aborted) throw signal.reason;
      await Promise.race([sleep("s", DAY), aborted]);
    });
    await setup.kernel.process("p").cancel("enough");
    expect((await handle.record())?.suspended).toBe(undefined);
    await setup.clock.advance(60_000);
    expect(await handle.outcome()).toEqual({ type: "cancelled", message: "enough" });
  });

  promise("an end from outside ends a suspended process (F-19)", async (setup) => {
    const { handle } = await suspended(setup, ({ sleep }) => sleep("s", DAY));
    await setup.processes.completeProcess("p", success("outside"));
    const record = await handle.record();
    expect([record?.status.state, record?.suspended, record?.waiting]).toEqual(["completed", undefined, undefined]);
    await setup.clock.advance(60_000);
    expect(await handle.outcome()).toEqual(success("outside"));
  });

  promise("what a handler does after its run was suspended is refused, and changes nothing (F-18)", async (setup) => {
    const codes: unknown[] = [];
    await suspended(setup, async ({ sleep, signal, step, emit, attempt }) => {
      if (attempt > 1) return;
      void sleep("s", DAY);
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      for (const call of [() => step("x", () => codes.push("ran")), () => emit("e", 1), () => sleep("t", 1)])
        await call().catch((error) => codes.push(error.code));
    });
    await setup.clock.advance(0);
    expect(codes).toEqual(["suspended", "suspended", "suspended"]);
    const types = (await setup.processes.eventsAfter("p", 0)).map(({ eventType }) => eventType);
    expect(types).toEqual(["process.waiting"]);
  });
}
