import { describe, expect, it } from "vitest";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import { createAgenda, leaveMs } from "../../src/loop/agenda.rules.js";

const { heartbeatMs, leaseRenewMs, sweepMs } = DEFAULT_TIMINGS;
const NEVER = Number.POSITIVE_INFINITY;
const NO_SLOT = { hasBacklog: true, free: 0 };
const IDLE = { hasBacklog: false, free: 1 };

/** Of a loop that began at 0, looked at everything, and has beaten and renewed. */
function agendaAfterOneTurn() {
  const agenda = createAgenda(DEFAULT_TIMINGS, 0);
  agenda.begin(0);
  agenda.beaten(0);
  agenda.renewed(0);
  agenda.look(0, IDLE);
  agenda.succeeded();
  return agenda;
}

describe("the first turn", () => {
  it("beats, renews and looks at everything", () => {
    const agenda = createAgenda(DEFAULT_TIMINGS, 7);
    expect(agenda.begin(7)).toEqual({ beats: true, renews: true });
    expect(agenda.look(7, NO_SLOT)).toBe("everything");
  });
});

describe("a turn", () => {
  it("beats and renews when that is due, and not before", () => {
    const agenda = agendaAfterOneTurn();
    expect(agenda.begin(leaseRenewMs - 1)).toEqual({ beats: false, renews: false });
    expect(agenda.begin(leaseRenewMs)).toEqual({ beats: false, renews: true });
    agenda.renewed(leaseRenewMs);
    expect(agenda.begin(heartbeatMs)).toEqual({ beats: true, renews: false });
  });

  it("tries again in a quarter of the time what failed", () => {
    const agenda = agendaAfterOneTurn();
    agenda.beaten(0, true);
    agenda.renewed(0, true);
    expect(agenda.begin(leaseRenewMs / 4)).toEqual({ beats: false, renews: true });
    expect(agenda.begin(heartbeatMs / 4)).toEqual({ beats: true, renews: true });
  });

  it("looks at everything each sweepMs, counted from the begin of the turn that did, and once when it is asked to", () => {
    const agenda = agendaAfterOneTurn();
    expect(agenda.look(sweepMs - 1, IDLE)).toBe("nothing");
    expect(agenda.look(sweepMs + 5, IDLE)).toBe("everything");
    expect(agenda.look(2 * sweepMs + 4, IDLE)).toBe("nothing");
    agenda.lookAtAll();
    expect(agenda.look(2 * sweepMs + 4, IDLE)).toBe("everything");
    expect(agenda.look(2 * sweepMs + 4, IDLE)).toBe("nothing");
    expect(agenda.look(2 * sweepMs + 5, IDLE)).toBe("everything");
  });

  it("looks at the backlog where a slot is free, before what is due", () => {
    const agenda = agendaAfterOneTurn();
    agenda.add(["a"]);
    expect(agenda.look(1, { hasBacklog: true, free: 1 })).toBe("backlog");
    expect(agenda.look(1, NO_SLOT)).toBe("due");
    expect(agenda.look(1, IDLE)).toBe("due");
  });

  it("gives what is due once, and keeps it for the next turn where it was not taken", () => {
    const agenda = agendaAfterOneTurn();
    agenda.hear("a");
    agenda.begin(1);
    agenda.failed();
    agenda.begin(2);
    agenda.add(["b", "a"]);
    expect(agenda.take()).toEqual(["a", "b"]);
    expect(agenda.take()).toEqual([]);
    agenda.succeeded();
    agenda.look(2, IDLE);
    expect(agenda.look(2, IDLE)).toBe("nothing");
  });

  it("leaves to the next one what is heard of while it runs", () => {
    const agenda = agendaAfterOneTurn();
    agenda.begin(1);
    agenda.hear("a");
    expect(agenda.hasHeard).toBe(true);
    expect(agenda.take()).toEqual([]);
    agenda.begin(2);
    expect(agenda.hasHeard).toBe(false);
    expect(agenda.take()).toEqual(["a"]);
  });

  it("that failed is followed by one that looks at everything", () => {
    const agenda = agendaAfterOneTurn();
    agenda.failed();
    agenda.failed();
    expect(agenda.failedTurns).toBe(2);
    expect(agenda.look(1, IDLE)).toBe("everything");
    agenda.succeeded();
    expect(agenda.failedTurns).toBe(0);
  });
});

describe("processes that are left to another host", () => {
  it("are all due at the time of the first one, and not before", () => {
    const agenda = agendaAfterOneTurn();
    agenda.leave("a", 30);
    agenda.leave("b", 50);
    expect(agenda.leftUntilMs).toBe(30);
    agenda.begin(29);
    expect(agenda.take()).toEqual([]);
    agenda.begin(30);
    expect(agenda.take()).toEqual(["a", "b"]);
    expect(agenda.leftUntilMs).toBeUndefined();
  });

  it("are looked at no more once a host has them, and bring no turn once none is left", () => {
    const agenda = agendaAfterOneTurn();
    agenda.leave("a", 30);
    agenda.leave("b", 30);
    agenda.hear("c");
    expect(agenda.drop("c")).toBe(false);
    expect(agenda.drop("a")).toBe(false);
    expect(agenda.nextMs(0, NEVER)).toBe(30);
    expect(agenda.drop("b")).toBe(true);
    expect(agenda.drop("b")).toBe(false);
    expect(agenda.nextMs(0, NEVER)).toBe(leaseRenewMs);
    agenda.begin(30);
    expect(agenda.take()).toEqual([]);
  });

  it.each([
    [8, 8, 0, 0],
    [8, 8, 0.5, 20],
    [4, 8, 0.25, 30],
    [0, 8, 0, 40],
    [0, 8, 0.999, 80],
  ])("are left by a host with %i of %i slots free and a chance of %d for %i ms", (free, slots, chance, ms) => {
    expect(leaveMs({ free, slots }, chance)).toBe(ms);
  });
});

describe("the next turn", () => {
  it("comes with the first thing that is due", () => {
    const agenda = agendaAfterOneTurn();
    expect(agenda.nextMs(0, NEVER)).toBe(leaseRenewMs);
    expect(agenda.nextMs(0, 500)).toBe(500);
    agenda.renewed(sweepMs);
    expect(agenda.nextMs(0, NEVER)).toBe(heartbeatMs);
    agenda.beaten(sweepMs);
    expect(agenda.nextMs(0, NEVER)).toBe(sweepMs);
  });

  it("comes 20 ms after this one at the soonest, but for processes that were left", () => {
    const agenda = agendaAfterOneTurn();
    expect(agenda.nextMs(100, 90)).toBe(120);
    agenda.leave("a", 105);
    expect(agenda.nextMs(100, 90)).toBe(105);
  });

  it("comes a quarter of a renewal after one that failed, whatever else is due", () => {
    const agenda = agendaAfterOneTurn();
    agenda.failed();
    expect(agenda.nextMs(100, 150)).toBe(100 + leaseRenewMs / 4);
  });
});
