// Records what several tabs did to one storage, as a server saw it, and checks that a correct holdfast can answer so. Pure.

/** The time of a report at the server: `order` counts all reports; `wallMs` is its clock, shared by all tabs of the machine. */
export interface Moment {
  order: number;
  wallMs: number;
}

/** `owner` and `fence` name a lease. A `mark` is unique in its log. */
export type Call =
  | { op: "claim"; resource: string; owner: string; ttlMs: number }
  | { op: "renew"; resource: string; owner: string; fence: number; ttlMs: number }
  | { op: "release"; resource: string; fence: number }
  | { op: "holder"; resource: string }
  | { op: "append"; resource: string; fence?: number; mark: string }
  | { op: "log"; resource: string }
  /** The function of a step, which names its tab and its fence. */
  | { op: "run"; resource: string; key: string; fence: number; run: string }
  | { op: "step"; resource: string; key: string };

export interface Entry {
  sequence: number;
  mark: string;
  fence?: number;
  /** The key of a step's result. */
  key?: string;
}

interface Answers {
  claim: { fence: number; claimedAtMs: number; expiresAtMs: number };
  renew: { expiresAtMs: number };
  release: null;
  /** null: no owner. */
  holder: { owner: string; fence: number; expiresAtMs: number } | null;
  append: { sequence: number };
  log: Entry[];
  run: null;
  /** The run that gave the result. */
  step: string;
}

type Op = Call["op"];

export type Outcome<O extends Op = Op> =
  | { type: "ok"; value: Answers[O] }
  /** The call wrote nothing. */
  | { type: "fail"; code: string; details?: unknown }
  /** The call may have taken effect, may take effect at any later time, or never. */
  | { type: "unknown" };

type Done<O extends Op> = {
  id: string;
  call: Extract<Call, { op: O }>;
  invoked: Moment;
  /** Absent if no answer was reported. */
  returned?: Moment;
  outcome: Outcome<O>;
};

export type Operation = { [O in Op]: Done<O> }[Op];

/** The reports of one operation: before the tab asks for it, and when the tab knows the outcome. */
export type Report =
  | { type: "operation"; id: string; phase: "invoke"; call: Call }
  | { type: "operation"; id: string; phase: "return"; outcome: Outcome };

/** Reports are in the order of arrival. An operation without an answer has the outcome "unknown". */
export function operationsOf(reports: readonly (Report & { toldAtMs: number })[]): Operation[] {
  const operations = new Map<string, Operation>();
  for (const [order, report] of reports.entries()) {
    const moment = { order, wallMs: report.toldAtMs };
    if (report.phase === "invoke") {
      const { id, call } = report;
      operations.set(id, { id, call, invoked: moment, outcome: { type: "unknown" } } as Operation);
      continue;
    }
    const { outcome } = report;
    const operation = operations.get(report.id);
    if (!operation) throw new Error(`operation ${report.id} returned and was never invoked`);
    Object.assign(operation, { outcome, ...(outcome.type !== "unknown" && { returned: moment }) });
  }
  return [...operations.values()];
}

/** Answers that no correct holdfast could have given; empty if all is well. */
export function complaintsOf(operations: readonly Operation[]): string[] {
  const resources = [...new Set(operations.map(({ call }) => call.resource))];
  return resources.flatMap((resource) => {
    const own = operations.filter(({ call }) => call.resource === resource);
    return [...ofFences(own), ...ofLog(own), ...ofSteps(own), ...ofLease(own)].map((what) => `${resource}: ${what}`);
  });
}

type Ok<O extends Op> = Done<O> & { returned: Moment; value: Answers[O] };

function succeeded<O extends Op>(operations: readonly Operation[], op: O): Ok<O>[] {
  return operations.flatMap((operation) =>
    operation.call.op === op && operation.outcome.type === "ok"
      ? [{ ...operation, value: operation.outcome.value } as Ok<O>]
      : [],
  );
}

const called = <O extends Op>(operations: readonly Operation[], op: O) =>
  operations.filter(({ call }) => call.op === op) as unknown as Done<O>[];

/** Whether `one` had ended before `other` was asked for. */
const precedes = (one: { returned?: Moment }, other: { invoked: Moment }) =>
  one.returned !== undefined && one.returned.order < other.invoked.order;

/** Each grant raises the fence, and a write under a lower fence is refused after it. */
export function ofFences(operations: readonly Operation[]): string[] {
  const complaints: string[] = [];
  const claims = succeeded(operations, "claim");
  for (const [at, one] of claims.entries()) {
    for (const other of claims.slice(at + 1)) {
      if (one.value.fence === other.value.fence)
        complaints.push(`fence ${one.value.fence} was given to ${one.id} and ${other.id}`);
      const [first, second] = precedes(other, one) ? [other, one] : [one, other];
      if (precedes(first, second) && first.value.fence > second.value.fence)
        complaints.push(`the fence fell from ${first.value.fence} (${first.id}) to ${second.value.fence} (${second.id})`);
    }
  }
  for (const append of succeeded(operations, "append")) {
    const { fence } = append.call;
    const higher = claims.find((claim) => fence !== undefined && claim.value.fence > fence && precedes(claim, append));
    if (higher) complaints.push(`${append.id} was accepted under fence ${fence} after ${higher.id} had ${higher.value.fence}`);
  }
  const accepted = [
    ...succeeded(operations, "log").flatMap(({ value }) => value),
    ...succeeded(operations, "append").map(({ call, value }) => ({ sequence: value.sequence, fence: call.fence })),
  ].flatMap(({ sequence, fence }) => (fence === undefined ? [] : [{ sequence, fence }]));
  accepted.sort((a, b) => a.sequence - b.sequence);
  const fallen = accepted.find(({ fence }, at) => fence < (accepted[at - 1]?.fence ?? 0));
  if (fallen) complaints.push(`event ${fallen.sequence} was stored under fence ${fallen.fence}, after one under a higher fence`);
  return complaints;
}

/** Sequences have no gaps. Each read is a prefix of every longer one, and no shorter than a read that had ended before it. */
export function ofLog(operations: readonly Operation[]): string[] {
  const complaints: string[] = [];
  const reads = succeeded(operations, "log");
  for (const { id, value } of reads) {
    const gap = value.findIndex(({ sequence }, at) => sequence !== at + 1);
    if (gap >= 0) complaints.push(`${id} read ${value[gap]?.sequence} as event ${gap + 1}`);
  }
  const byLength = reads.toSorted((a, b) => a.value.length - b.value.length);
  for (const [at, longer] of byLength.entries()) {
    const shorter = byLength[at - 1];
    const differs = shorter?.value.findIndex(({ mark }, place) => mark !== longer.value[place]?.mark) ?? -1;
    if (shorter && differs >= 0) complaints.push(`${shorter.id} and ${longer.id} read different events ${differs + 1}`);
  }
  const longest = byLength.at(-1)?.value ?? [];
  const seen = new Set<string>();
  for (const { mark } of longest) {
    if (seen.has(mark)) complaints.push(`${mark} is stored twice`);
    seen.add(mark);
  }

  for (const one of reads) {
    const after = reads.find((other) => precedes(one, other) && other.value.length < one.value.length);
    if (after) complaints.push(`${after.id} read ${after.value.length} events after ${one.id} had read ${one.value.length}`);
  }
  for (const append of called(operations, "append")) {
    const { mark } = append.call;
    if (append.outcome.type === "fail" && seen.has(mark)) complaints.push(`${mark} was refused and is stored`);
    if (append.outcome.type !== "ok") continue;
    const { sequence } = append.outcome.value;
    const without = reads.find(
      (read) => (precedes(append, read) || read.value.length >= sequence) && read.value[sequence - 1]?.mark !== mark,
    );
    if (without) complaints.push(`${mark} was acknowledged as event ${sequence}, and ${without.id} read it without`);
  }
  for (const read of reads) {
    const early = called(operations, "append").find(
      (append) => precedes(read, append) && read.value.some(({ mark }) => mark === append.call.mark),
    );
    if (early) complaints.push(`${read.id} read ${early.call.mark} before anybody asked for it`);
  }
  return complaints;
}

/** A step has one result, from one of its runs; no owner with a higher fence than that run's runs the step again. */
export function ofSteps(operations: readonly Operation[]): string[] {
  const complaints: string[] = [];
  const runs = called(operations, "run");
  const keys = new Set([...runs.map(({ call }) => call.key), ...called(operations, "step").map(({ call }) => call.key)]);
  for (const { id, value } of succeeded(operations, "log")) {
    const stored = value.flatMap((entry) => (entry.key === undefined ? [] : [entry.key]));
    const twice = stored.find((key, at) => stored.indexOf(key) !== at);
    if (twice !== undefined) complaints.push(`${id} read two results of step ${twice}`);
  }
  for (const key of keys) {
    const own = runs.filter(({ call }) => call.key === key);
    for (const { call } of own) {
      if (own.find((other) => other.call.fence === call.fence)?.call.run !== call.run)
        complaints.push(`step ${key} ran twice under fence ${call.fence}`);
    }
    const results = [...new Set(succeeded(operations, "step").flatMap(({ call, value }) => (call.key === key ? [value] : [])))];
    if (results.length > 1) complaints.push(`step ${key} has the results ${results.join(" and ")}`);
    for (const result of results) {
      const winner = own.find(({ call }) => call.run === result);
      if (!winner) complaints.push(`step ${key} has the result ${result} of no run`);
      const later = own.find(({ call }) => winner !== undefined && call.fence > winner.call.fence);
      if (later) complaints.push(`step ${key} has a result of fence ${winner?.call.fence} and ran under ${later.call.fence}`);
    }
  }
  return complaints;
}

/** The lease as one register: its holder, and the earliest and the latest time at which it can run out, as tabs were told. */
interface Register {
  fence: number;
  holder?: { owner: string; minMs: number; maxMs: number };
}

/** Clocks that are read in two processes may be rounded differently. */
const ROUNDING_MS = 2;

/** The register after the operation took effect between its call and its answer; undefined if that answer is impossible. */
function after(register: Register, { call, outcome, invoked, returned }: Operation): Register | undefined {
  const { fence, holder } = register;
  const fromMs = invoked.wallMs - ROUNDING_MS;
  const untilMs = (returned?.wallMs ?? Number.POSITIVE_INFINITY) + ROUNDING_MS;
  const within = (ms: number) => fromMs <= ms && ms <= untilMs;
  const exactly = (owner: string, ms: number, under = fence): Register => ({
    fence: under,
    holder: { owner, minMs: ms, maxMs: ms },
  });
  /** The lease has no holder, or it can have run out. */
  const free = (): Register | undefined => {
    if (!holder) return register;
    return holder.minMs <= untilMs ? { fence, holder: { ...holder, maxMs: Math.min(holder.maxMs, untilMs) } } : undefined;
  };
  const live = (expiresAtMs: number) =>
    holder && holder.minMs <= expiresAtMs && expiresAtMs <= holder.maxMs && fromMs < expiresAtMs
      ? exactly(holder.owner, expiresAtMs)
      : undefined;
  const isUnder = (presented: number | undefined) => holder !== undefined && presented === fence;

  switch (call.op) {
    case "claim": {
      if (outcome.type === "unknown") {
        const isOwn = holder?.owner === call.owner;
        const earliestMs = (isOwn ? fromMs : Math.max(fromMs, holder?.minMs ?? 0)) + call.ttlMs;
        return { fence: fence + 1, holder: { owner: call.owner, minMs: earliestMs, maxMs: Number.POSITIVE_INFINITY } };
      }
      if (outcome.type === "ok") {
        const { fence: given, claimedAtMs, expiresAtMs } = outcome.value as Answers["claim"];
        const isFree = !holder || holder.owner === call.owner || holder.minMs <= claimedAtMs;
        const fits = given === fence + 1 && isFree && within(claimedAtMs) && expiresAtMs === claimedAtMs + call.ttlMs;
        return fits ? exactly(call.owner, expiresAtMs, given) : undefined;
      }
      if (outcome.code !== "lease-held") return register;
      const { ownerId, expiresAtMs } = outcome.details as { ownerId: string; expiresAtMs: number };
      return holder?.owner === ownerId && ownerId !== call.owner ? live(expiresAtMs) : undefined;
    }
    case "renew": {
      const isOurs = isUnder(call.fence) && holder?.owner === call.owner;
      if (outcome.type === "fail") return outcome.code === "lease-lost" && isOurs ? free() : register;
      if (!isOurs || !holder || fromMs >= holder.maxMs) return undefined;
      if (outcome.type === "unknown") {
        return { fence, holder: { ...holder, minMs: fromMs + call.ttlMs, maxMs: holder.maxMs + call.ttlMs } };
      }
      const { expiresAtMs } = outcome.value as Answers["renew"];
      const atMs = expiresAtMs - call.ttlMs;
      return within(atMs) && atMs < holder.maxMs ? exactly(holder.owner, expiresAtMs) : undefined;
    }
    case "append": {
      if (outcome.type === "fail") return outcome.code === "lease-lost" && isUnder(call.fence) ? free() : register;
      if (!isUnder(call.fence) || !holder || fromMs >= holder.maxMs) return undefined;
      return { fence, holder: { ...holder, minMs: Math.max(holder.minMs, fromMs + 1) } };
    }
    case "holder": {
      if (outcome.type !== "ok") return register;
      const shown = outcome.value as Answers["holder"];
      if (!shown) return free();
      return shown.fence === fence && shown.owner === holder?.owner ? live(shown.expiresAtMs) : undefined;
    }
    case "release":
      if (outcome.type === "fail") return register;
      return isUnder(call.fence) ? { fence } : register;
    default:
      return register;
  }
}

/** Whether the operation says something about the lease or may have changed it. */
function concernsLease({ call, outcome }: Operation): boolean {
  const { op } = call;
  if (op === "claim" || op === "renew" || op === "release") return true;
  return outcome.type !== "unknown" && (op === "holder" || (op === "append" && call.fence !== undefined));
}

/**
 * Looks for one order of all operations that explains every answer. An operation follows all that ended before it was asked for.
 * An operation whose outcome is unknown may stand anywhere after its invocation, or be left out.
 */
export function ofLease(all: readonly Operation[]): string[] {
  const operations = all.filter(concernsLease).toSorted((a, b) => a.invoked.order - b.invoked.order);
  const endOf = (at: number) => operations[at]?.returned?.order ?? Number.POSITIVE_INFINITY;
  const isKnown = (at: number) => operations[at]?.outcome.type !== "unknown";
  const unknown = [...operations.keys()].filter((at) => !isKnown(at));
  const isDone = operations.map(() => false);
  const visited = new Set<string>();
  let furthest = { count: -1, left: [] as string[], register: { fence: 0 } as Register };

  function search(register: Register, from: number, count: number): boolean {
    let low = from;
    while (low < operations.length && (isDone[low] || !isKnown(low))) low++;
    if (low === operations.length) return true;

    const candidates: number[] = [];
    const ahead: number[] = [];
    let bound = Number.POSITIVE_INFINITY;
    for (let at = low; at < operations.length && (operations[at] as Operation).invoked.order < bound; at++) {
      if (isDone[at]) ahead.push(at);
      else if (isKnown(at)) {
        candidates.push(at);
        bound = Math.min(bound, endOf(at));
      }
    }
    const absent = unknown.filter((at) => !isDone[at] && (operations[at] as Operation).invoked.order < bound);
    const later = unknown.filter((at) => isDone[at]);
    const state = `${low} ${ahead} ${later} ${register.fence} ${JSON.stringify(register.holder)}`;
    if (visited.has(state)) return false;
    visited.add(state);
    if (count > furthest.count) furthest = { count, left: candidates.map((at) => JSON.stringify(operations[at])), register };

    for (const at of [...candidates, ...absent]) {
      const next = after(register, operations[at] as Operation);
      if (!next) continue;
      isDone[at] = true;
      if (search(next, low, count + 1)) return true;
      isDone[at] = false;
    }
    return false;
  }

  if (search({ fence: 0 }, 0, 0)) return [];
  const { count, left, register } = furthest;
  return [
    `no order explains the lease: after ${count} operations it is ${JSON.stringify(register)}, and next may be ${left.join(" or ")}`,
  ];
}
