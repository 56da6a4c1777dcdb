import type { ProcessRegistry } from "../../kernel/process/registry.js";
import type { Clock } from "../../ports/clock.js";
import { casesOn, count, failure, type OpenFixture, type Runner, refusal, refused, success, task } from "../kit/fixture.js";

/** Its timers keep Node alive, unlike those of the default clock: a test runner may exit when no timer is left. */
function runningClock(): Clock {
  return {
    now: () => Date.now(),
    monotonicMs: () => performance.now(),
    setTimer(run, delayMs) {
      const timer = setTimeout(run, delayMs);
      return () => clearTimeout(timer);
    },
  };
}

/** Waits for an event or an end. A wait that misses its event shows as a case that does not end. */
export function waitCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);
  const register = (processes: ProcessRegistry) =>
    processes.registerProcess(task("p", { eventTypes: [{ name: "a" }, { name: "b" }] }));
  const append = (processes: ProcessRegistry, eventType: string, payload: number | null = null) =>
    processes.appendEvent("p", { eventType, payload });
  /** Options of a second kernel. It has no channel: its waits find changes by their poll alone. */
  const deaf = { clock: runningClock(), timings: { pollMs: 2 } };

  promise("a wait returns the first stored match behind the sequence (P-53)", async ({ processes }) => {
    await register(processes);
    for (const name of ["a", "b", "a", "b"]) await append(processes, name);
    const found = async (name: string, after: number) => (await processes.waitEventAfter("p", name, after)).sequence;
    expect([await found("a", 0), await found("a", 1), await found("b", 0), await found("b", 2)]).toEqual([1, 3, 2, 4]);
  });

  promise("a wait ends with the next event of its type, not with others (P-53)", async ({ processes }) => {
    await register(processes);
    await append(processes, "a", 1);
    const waiting = processes.waitEventAfter("p", "a", 1);
    await append(processes, "b", 2);
    const { event } = await append(processes, "a", 3);
    await append(processes, "a", 4);
    expect(await waiting).toEqual(event);
  });

  promise("a wait looks beyond a long row of other events (P-53)", async ({ processes }) => {
    await register(processes);
    await Promise.all(count(600).map((n) => append(processes, "b", n)));
    const waiting = processes.waitEventAfter("p", "a", 0);
    await append(processes, "a");
    expect((await waiting).sequence).toBe(601);
    expect((await processes.waitEventAfter("p", "a", 0)).sequence).toBe(601);
  });

  promise("an event that is stored while a wait begins is not missed (P-55)", async ({ processes }) => {
    await register(processes);
    for (const n of count(50)) {
      const early = append(processes, "a", n);
      const waiting = processes.waitEventAfter("p", "a", n - 1);
      if (n % 2) await early;
      else await Promise.resolve();
      expect([(await waiting).payload, (await early).event.sequence]).toEqual([n, n]);
    }
  });

  promise("an end that is stored while a wait begins is not missed (P-54, P-55)", async ({ processes }) => {
    for (const n of count(30)) {
      const id = `p${n}`;
      await processes.registerProcess(task(id));
      const ending = processes.completeProcess(id, success(n));
      expect(await processes.awaitProcess(id)).toEqual(success(n));
      await ending;
    }
  });

  promise("any number waits for one event and one end (P-53, P-54)", async ({ processes }) => {
    await register(processes);
    const events = count(40).map(() => processes.waitEventAfter("p", "a", 0));
    const ends = count(40).map(() => processes.awaitProcess("p"));
    const { event } = await append(processes, "a");
    expect(await Promise.all(events)).toEqual(events.map(() => event));
    await processes.completeProcess("p", failure("no"));
    expect(await Promise.all(ends)).toEqual(ends.map(() => failure("no")));
  });

  promise("waits of other kernels end too, without any notice (P-53 to P-55)", async ({ processes, open }) => {
    await register(processes);
    const others = [(await open(deaf)).processes, (await open(deaf)).processes];
    const events = others.map((other) => other.waitEventAfter("p", "a", 0));
    const ends = others.map((other) => other.awaitProcess("p"));
    const never = others.map((other) => refusal(other.waitEventAfter("p", "b", 0)));
    const { event } = await append(processes, "a");
    expect(await Promise.all(events)).toEqual([event, event]);
    await processes.completeProcess("p", success(1));
    expect(await Promise.all(ends)).toEqual([success(1), success(1)]);
    expect((await Promise.all(never)).map((error) => (error as { code?: unknown }).code)).toEqual(["terminal", "terminal"]);
  });

  promise("waiting for the end of an ended process returns at once (P-54)", async ({ processes }) => {
    await register(processes);
    await processes.completeProcess("p", success({ a: 1 }));
    expect(await processes.awaitProcess("p")).toEqual(success({ a: 1 }));
  });

  promise("an unknown process is not waited for (P-54)", async ({ processes }) => {
    await refused(processes.awaitProcess("nobody"), "not-found", "unknown process");
    await refused(processes.waitEventAfter("nobody", "a", 0), "not-found", "unknown process");
  });

  promise("a wait for an event ends with `terminal` when the process ends without it (P-53)", async ({ processes }) => {
    await register(processes);
    await append(processes, "a");
    const waiting = [refusal(processes.waitEventAfter("p", "a", 1)), refusal(processes.waitEventAfter("p", "b", 0))];
    const end = processes.waitEventAfter("p", "process.completed", 0);
    await processes.completeProcess("p", success(1));
    for (const error of await Promise.all(waiting)) expect((error as { code?: unknown }).code).toBe("terminal");
    expect((await end).sequence).toBe(2);
    await refused(processes.waitEventAfter("p", "b", 0), "terminal", "already terminal");
    expect((await processes.waitEventAfter("p", "a", 0)).sequence).toBe(1);
    await append(processes, "b");
    expect((await processes.waitEventAfter("p", "b", 0)).sequence).toBe(3);
  });

  promise(
    "an aborted signal ends a wait with its reason as the cause, before it begins and while it waits (P-53)",
    async ({ processes }) => {
      await register(processes);
      const reason = new Error("enough");
      const controllers = [new AbortController(), new AbortController()];
      controllers[0]?.abort(reason);
      for (const controller of controllers) {
        const options = { signal: controller.signal };
        const waits = [processes.waitEventAfter("p", "a", 0, options), processes.awaitProcess("p", options)].map(refusal);
        controller.abort(reason);
        for (const error of await Promise.all(waits)) {
          const { code, cause } = error as { code?: unknown; cause?: unknown };
          expect([code, cause]).toEqual(["aborted", reason]);
        }
      }
    },
  );

  promise("an aborted wait leaves the others alone (P-53)", async ({ processes }) => {
    await register(processes);
    const controller = new AbortController();
    const aborted = refusal(processes.waitEventAfter("p", "a", 0, { signal: controller.signal }));
    const waiting = processes.waitEventAfter("p", "a", 0, { signal: new AbortController().signal });
    controller.abort();
    expect(((await aborted) as { code?: unknown }).code).toBe("aborted");
    const { event } = await append(processes, "a");
    expect(await waiting).toEqual(event);
  });

  promise(
    "closing the kernel ends its waits with `closed` and leaves those of another kernel",
    async ({ kernel, processes, open }) => {
      await register(processes);
      const other = (await open(deaf)).processes;
      const kept = other.awaitProcess("p");
      const waits = [processes.awaitProcess("p"), processes.waitEventAfter("p", "a", 0)].map(refusal);
      await kernel.close();
      for (const error of await Promise.all(waits)) expect((error as { code?: unknown }).code).toBe("closed");
      await other.completeProcess("p", success(1));
      expect(await kept).toEqual(success(1));
    },
  );
}
