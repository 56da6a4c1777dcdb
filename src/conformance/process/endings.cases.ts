import type { Kernel } from "../../kernel/kernel.js";
import type { KernelOptions } from "../../kernel/options.js";
import type { ProcessContext, ProcessHandler } from "../../kernel/process/context/context.js";
import type { StartRequest } from "../../kernel/process/start-request.js";
import {
  cancelled,
  casesOn,
  type OpenFixture,
  type Runner,
  refusalMismatch,
  refused,
  type Setup,
  success,
  task,
} from "../kit/fixture.js";

const external = { input: { type: "external" as const, metadata: null } };
const endedWith = (parent: string) => cancelled(`process "${parent}" has ended, and this one with it`);

function latch(): { isOpen: Promise<void>; open(): void } {
  let open = () => {};
  const isOpen = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { isOpen, open };
}

/** Processes that end by what becomes of others: with their parents, or because no host can run them. */
export function endingCases(open: OpenFixture, runner: Runner): void {
  const { promise } = casesOn(open, runner);
  const { expect } = runner;

  const hostWith = (setup: Setup, handlers: Record<string, ProcessHandler>, more: Partial<KernelOptions> = {}) =>
    setup.open({ loop: "inline", handlers, ...more });

  /** A kernel on which "parent" starts these children and ends as `end` does. */
  const families = (setup: Setup, children: Record<string, StartRequest>, end: (context: ProcessContext) => unknown) =>
    hostWith(setup, {
      parent: async (context) => {
        for (const [key, request] of Object.entries(children)) await context.start(key, request);
        return (await end(context)) as null;
      },
    });

  const outputs = (kernel: Kernel, ids: readonly string[]) =>
    Promise.all(
      ids.map(async (id) => {
        const status = (await kernel.processes.getProcess(id))?.status;
        return status?.state === "running" ? "running" : status?.awaitOutput;
      }),
    );

  promise("a child that ends with its parent is cancelled in the write that ends it, and others run on (A-34)", async (setup) => {
    const kernel = await families(setup, { ends: { ...external, endWith: "parent" }, stays: external }, () => 1);
    await kernel.start({ id: "p", input: { type: "task", name: "parent" } });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(1));
    expect(await outputs(kernel, ["p/ends", "p/stays"])).toEqual([endedWith("p"), "running"]);
    expect((await kernel.processes.eventsAfter("p/ends", 0)).map(({ eventType }) => eventType)).toEqual(["process.cancelled"]);
  });

  promise("it is cancelled whichever way its parent ends: failed, or by another's word (A-34)", async (setup) => {
    const kernel = await families(setup, { kid: { ...external, endWith: "parent" } }, () => {
      throw new Error("no");
    });
    await kernel.start({ id: "p", input: { type: "task", name: "parent" } });
    expect(await kernel.processes.awaitProcess("p")).toEqual({
      type: "failure",
      class: "execution",
      code: "process_failed",
      message: "no",
    });
    expect(await outputs(kernel, ["p/kid"])).toEqual([endedWith("p")]);

    const declared = { name: "over", semantics: { terminal: { state: "completed" as const } } };
    const begin = latch();
    const other = await hostWith(setup, {
      second: async (context) => {
        await context.start("kid", { ...external, endWith: "parent" });
        begin.open();
        await new Promise<never>(() => {});
      },
    });
    await other.start({ id: "q", input: { type: "task", name: "second" }, eventTypes: [declared] });
    await begin.isOpen;
    await setup.processes.appendEvent("q", { eventType: "over", payload: 1, replayKey: "k" });
    expect(await outputs(other, ["q", "q/kid"])).toEqual([success(1), endedWith("q")]);
  });

  promise("what ends with a child ends with it, at any depth (A-34)", async (setup) => {
    const begin = latch();
    const kernel = await hostWith(setup, {
      parent: async (context) => {
        await context.start("child", { input: { type: "task", name: "child" }, endWith: "parent" });
        await begin.isOpen;
      },
      child: async (context) => {
        await context.start("grandchild", { ...external, endWith: "parent" });
        begin.open();
        await new Promise<never>(() => {});
      },
    });
    await kernel.start({ id: "p", input: { type: "task", name: "parent" } });
    await kernel.processes.awaitProcess("p");
    expect(await outputs(kernel, ["p/child", "p/child/grandchild"])).toEqual([endedWith("p"), endedWith("p/child")]);
  });

  promise("a child that ended before its parent keeps its end (A-34)", async (setup) => {
    const kernel = await families(setup, { kid: { ...external, endWith: "parent" } }, async ({ process }) => {
      await setup.processes.completeProcess("p/kid", success("done"));
      return (await process("p/kid").record())?.status.state ?? null;
    });
    await kernel.start({ id: "p", input: { type: "task", name: "parent" } });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success("completed"));
    expect(await outputs(kernel, ["p/kid"])).toEqual([success("done")]);
  });

  promise("a child that is started again so ends with its parent from then on (A-34)", async (setup) => {
    const kernel = await families(setup, { kid: external }, ({ start }) =>
      start("kid", { ...external, endWith: "parent" }).then(() => 1),
    );
    await kernel.start({ id: "p", input: { type: "task", name: "parent" } });
    await kernel.processes.awaitProcess("p");
    expect(await outputs(kernel, ["p/kid"])).toEqual([endedWith("p")]);
  });

  promise("a process that others started, its own or one above it ends with no other: conflict (A-34)", async (setup) => {
    const told: unknown[] = [];
    const begin = latch();
    const kernel = await hostWith(setup, {
      parent: async ({ start, record }) => {
        if (record.id === "top") return await new Promise<never>(() => {});
        for (const id of ["top", record.id]) {
          const wrong = await refusalMismatch(
            start(`to ${id}`, "parent", { id, endWith: "parent" }),
            "conflict",
            "endWith",
            `"${id}"`,
          );
          told.push(wrong ?? "refused");
        }
        begin.open();
      },
    });
    await setup.kernel.start("parent", { id: "top" });
    await kernel.start("parent", { id: "p" });
    await begin.isOpen;
    expect(told).toEqual(["refused", "refused"]);
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
    expect(await outputs(setup.kernel, ["p"])).toEqual([success(null)]);
  });

  promise("a session's turn that would end with its parent is asked to cancel, once (A-34)", async (setup) => {
    const turn = { input: { type: "session_turn" as const, sessionId: "s", input: null }, endWith: "parent" as const };
    const kernel = await families(setup, { asked: turn, kid: turn }, ({ process }) => process("p/asked").cancel("before"));
    await kernel.start({ id: "p", input: { type: "task", name: "parent" } });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
    const reasons = async (id: string) => {
      const events = await kernel.processes.eventsAfter(id, 0);
      return events.filter(({ eventType }) => eventType === "process.cancel_requested").map(({ payload }) => payload);
    };
    expect(await reasons("p/kid")).toEqual([{ reason: 'process "p" has ended, and this one with it' }]);
    expect(await reasons("p/asked")).toEqual([{ reason: "before" }]);
  });

  promise("only a child says that it ends with its parent, and in no other way (A-34)", async (setup) => {
    await refused(setup.kernel.start({ id: "p", ...external, endWith: "parent" }), "invalid", "request.endWith", "context.start");
    await refused(setup.kernel.start({ id: "p", ...external, endWith: "never" as never }), "invalid", "request.endWith");
    expect(await setup.processes.getProcess("p")).toBe(undefined);
  });

  promise(
    "a process that was asked to cancel and whose handler no host has is ended as cancelled, fenced (A-26)",
    async (setup) => {
      await setup.processes.registerProcess(task("p"));
      await setup.processes.registerProcess(task("asked by none"));
      await setup.processes.registerProcess({ id: "outside", ...external });
      const stale = await setup.processes.claimProcessLease("p", "before", 0);
      for (const id of ["p", "outside"]) await setup.kernel.process(id).cancel("not wanted");
      const kernel = await hostWith(setup, { other: () => null });
      expect(await kernel.processes.awaitProcess("p")).toEqual(cancelled("not wanted"));
      expect(await outputs(kernel, ["outside", "asked by none"])).toEqual(["running", "running"]);
      expect(await kernel.processes.getLease("p")).toBe(undefined);
      await refused(kernel.processes.completeProcess("p", success(1), { lease: stale }), "lease-lost");
    },
  );

  promise("it is left alone while its lease lives (A-26)", async (setup) => {
    await setup.processes.registerProcess(task("p"));
    await setup.processes.claimProcessLease("p", "by hand", 60_000);
    await setup.kernel.process("p").cancel();
    const kernel = await hostWith(setup, {});
    const sweeps: unknown[] = [];
    await new Promise<void>((resolve) => {
      kernel.on("sweep", (sweep) => {
        sweeps.push(sweep);
        resolve();
      });
    });
    expect(await outputs(kernel, ["p"])).toEqual(["running"]);
  });

  promise("a session's turn that no host ever claimed is ended so, too (A-26)", async (setup) => {
    await setup.processes.registerProcess({ id: "p", input: { type: "session_turn", sessionId: "s", input: null } });
    await setup.kernel.process("p").cancel("not wanted");
    const kernel = await hostWith(setup, {});
    expect(await kernel.processes.awaitProcess("p")).toEqual(cancelled("not wanted"));
  });

  promise("what ends with it ends with it (A-26, A-34)", async (setup) => {
    const kernel = await hostWith(setup, {
      parent: async (context) => {
        await context.start("kid", { ...external, endWith: "parent" });
        return await new Promise<never>(() => {});
      },
    });
    await kernel.start({ id: "p", input: { type: "task", name: "parent" } });
    while (!(await setup.processes.getProcess("p/kid"))) await new Promise((resolve) => setTimeout(resolve, 0));
    await kernel.close();
    await setup.kernel.process("p").cancel("not wanted");
    const later = await hostWith(setup, {});
    expect(await later.processes.awaitProcess("p")).toEqual(cancelled("not wanted"));
    expect(await outputs(later, ["p/kid"])).toEqual([endedWith("p")]);
  });
}
